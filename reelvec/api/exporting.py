"""Take a run's tables elsewhere."""

from __future__ import annotations

from pathlib import Path

from reelvec.api.recorded import RecordedArtifacts
from reelvec.configs import PipelineConfig
from reelvec.storage.runs import RunRecord
from reelvec.tasks.exports.contract import ExportSettings
from reelvec.tasks.exports.export import Exported, export
from reelvec.tasks.exports.source import ExportSource

__all__ = ["export_recorded", "source_of"]


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


def export_recorded(
    source: ExportSource, out: str | Path, *, to: str, force: bool, settings: ExportSettings
) -> Exported:
    """See `Run.export`."""
    return export(source, Path(out), to=to, settings=settings, force=force)
