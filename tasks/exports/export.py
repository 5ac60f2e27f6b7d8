"""Export a run: the kinds there are, and one way to write any of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reelvec.errors import RequestError
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.tasks.exports.atlas_map import AtlasMap
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.faiss_index import FaissIndex
from reelvec.tasks.exports.fiftyone_json import FiftyOneJson
from reelvec.tasks.exports.folders import check_out, filled, write_facts
from reelvec.tasks.exports.hugging_face import HuggingFaceDataset
from reelvec.tasks.exports.lance_tables import LanceTables
from reelvec.tasks.exports.mteb_results import MtebResults
from reelvec.tasks.exports.numpy_files import NumpyFiles
from reelvec.tasks.exports.parquet_files import ParquetFiles
from reelvec.tasks.exports.source import ExportSource
from reelvec.tasks.exports.tar_shards import TarShards

__all__ = ["TARGETS", "Exported", "export"]

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        ParquetFiles(),
        NumpyFiles(),
        FaissIndex(),
        LanceTables(),
        HuggingFaceDataset(),
        TarShards(),
        AtlasMap(),
        FiftyOneJson(),
        MtebResults(),
    )
}
"""By the name that `--to` takes."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    to: str
    out: str
    rows: Mapping[str, int]
    """By table."""
    bytes: int
    opened_by: str
    """How it is opened: a line for a person."""


def export(
    source: ExportSource, out: Path, *, to: str, settings: ExportSettings, force: bool = False
) -> Exported:
    """Write the tables of a run as another tool opens them.

    Args:
        source: the run.
        out: a folder, which is whole afterwards or as it was.
        to: one of `TARGETS`.
        settings: what the target takes; what it does not take must not be set.
        force: replace a folder that an export wrote.

    Raises:
        RequestError: no such target, it does not fit the run, or `out` is taken.
        RefusedError: `out` cannot be written.
    """
    target = _known(to, settings)
    check_out(out, force=force)
    try:
        with filled(out, force=force) as folder:
            with explained("write", path=out, only=WRITE_FAILURES):
                target.write(source, folder, settings=settings)
                write_facts(folder, {"to": to, **source.facts})
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    finally:
        source.close()
    rows = {table: source.count(table) for table in source.tables}
    opened_by = target.opened_by.replace("OUT", str(out))
    return Exported(to=to, out=str(out), rows=rows, bytes=size, opened_by=opened_by)


def _known(to: str, settings: ExportSettings) -> Target:
    if to not in TARGETS:
        raise RequestError(f"--to ({to}) is none of {', '.join(TARGETS)}")
    target = TARGETS[to]
    foreign = sorted(settings.model_fields_set - target.takes)
    if foreign:
        whose = [name for name, one in TARGETS.items() if foreign[0] in one.takes]
        raise RequestError(f"{foreign[0]} is no choice of --to {to}, but of {', '.join(whose)}")
    if target.package and importlib.util.find_spec(target.package) is None:
        raise RequestError(
            f"--to {to} needs the package {target.package}, which is not installed:"
            " pip install 'reelvec[exports]'"
        )
    return target
