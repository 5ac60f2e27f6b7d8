"""Which reader reads which kind of corpus: one literal table."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from configs.schema import BenchmarkCorpus, FolderCorpus, SyntheticCorpus
from storage.corpora.contract import CorpusReader
from storage.errors import CorpusError

__all__ = ["READERS", "open_corpus"]


def _folder(config: FolderCorpus, _: Path) -> CorpusReader:
    from storage.corpora.folder import FolderReader

    return FolderReader(**config.model_dump(exclude={"kind"}))


def _synthetic(config: SyntheticCorpus, store_dir: Path) -> CorpusReader:
    from storage.corpora.synthetic import SyntheticOptions, SyntheticReader

    options = SyntheticOptions(**config.model_dump(exclude={"kind"}))
    return SyntheticReader(options, store_dir=store_dir)


def _benchmark(module: str, name: str) -> Callable[[BenchmarkCorpus, Path], CorpusReader]:
    def opened(config: BenchmarkCorpus, _: Path) -> CorpusReader:
        reader = getattr(import_module(f"storage.corpora.{module}"), name)
        return cast(CorpusReader, reader(**config.model_dump(exclude={"kind"})))

    return opened


READERS: dict[str, Callable[[Any, Path], CorpusReader]] = {
    "folder": _folder,
    "synthetic": _synthetic,
    "msrvtt": _benchmark("msrvtt", "MsrvttReader"),
    "msvd": _benchmark("msvd", "MsvdReader"),
    "lsmdc": _benchmark("lsmdc", "LsmdcReader"),
    "didemo": _benchmark("didemo", "DidemoReader"),
    "activitynet": _benchmark("activitynet", "ActivityNetReader"),
    "vatex": _benchmark("vatex", "VatexReader"),
    "adaclip": _benchmark("adaclip", "AdaclipReader"),
}


def open_corpus(
    config: FolderCorpus | SyntheticCorpus | BenchmarkCorpus, *, store_dir: str | os.PathLike[str]
) -> CorpusReader:
    """The reader of the configured corpus; nothing is read before its ``read()``.

    Args:
        config: One of the corpus classes of configs.schema, by its ``kind``.
        store_dir: Local root of the store; generated videos go below its ``sources``.

    Raises:
        CorpusError: no reader of that kind, or options it cannot use.
    """
    reader = READERS.get(config.kind)
    if reader is None:
        kinds = ", ".join(sorted(READERS))
        raise CorpusError(f"corpus kind {config.kind!r} is unknown; use one of: {kinds}")
    return reader(config, Path(store_dir).absolute())
