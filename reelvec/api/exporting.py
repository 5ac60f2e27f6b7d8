"""Take a run's tables elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from reelvec.api.recorded import RecordedArtifacts
from reelvec.configs import PipelineConfig
from reelvec.configs.errors import rule
from reelvec.errors import RequestError
from reelvec.storage.runs import RunRecord
from reelvec.tasks.exports.contract import ExportSettings
from reelvec.tasks.exports.export import export
from reelvec.tasks.exports.source import ExportSource

__all__ = ["export", "settings_of", "source_of"]


def source_of(
    recorded: RecordedArtifacts, record: RunRecord, config: PipelineConfig
) -> ExportSource:
    """The snapshots of a run that an export reads.

    Raises:
        MissingArtifactError: the run has embedded nothing.
    """
    return ExportSource(
        run=record.name,
        identifier=record.identifier,
        config=config,
        embeddings=recorded.snapshot("embeddings"),
        corpus=recorded.snapshot("corpus"),
        frames=recorded.snapshot("frames") if recorded.has("frames") else None,
    )


def settings_of(given: Mapping[str, Any]) -> ExportSettings:
    """What was chosen; the rest has its default.

    Raises:
        RequestError: no such choice, or no such value.
    """
    try:
        return ExportSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise RequestError(f"{name} ({first['input']}): {rule(first['msg'])}") from None
