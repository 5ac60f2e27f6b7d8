"""Which reader reads which kind of corpus: one literal table."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from reelvec.configs.corpora import CorpusConfig, FilmCorpus, StoryCorpus
from reelvec.configs.schema import BenchmarkCorpus, FolderCorpus, SyntheticCorpus
from reelvec.storage.corpora.benchmarks.reading import BenchmarkReader
from reelvec.storage.corpora.contract import CorpusReader
from reelvec.storage.errors import CorpusError

__all__ = ["BENCHMARKS", "READERS", "open_corpus", "reader_class"]


_NOT_OF_READERS = {"kind", "windows"}
"""Fields of a corpus that say nothing of its files."""


def _folder(config: FolderCorpus, _: Path, __: bool) -> CorpusReader:
    from reelvec.storage.corpora.own.folder import FolderReader

    return FolderReader(**config.model_dump(exclude=_NOT_OF_READERS))


def _synthetic(config: SyntheticCorpus, store_dir: Path, draws: bool) -> CorpusReader:
    from reelvec.storage.corpora.synthetic.corpus import SyntheticOptions, SyntheticReader

    options = SyntheticOptions(**config.model_dump(exclude=_NOT_OF_READERS))
    return SyntheticReader(options, store_dir=store_dir, draws=draws)


def _stories(config: StoryCorpus, store_dir: Path, draws: bool) -> CorpusReader:
    from reelvec.storage.corpora.synthetic.story_corpus import StoryOptions, StoryReader

    options = StoryOptions(**config.model_dump(exclude=_NOT_OF_READERS))
    return StoryReader(options, store_dir=store_dir, draws=draws)


def _films(config: FilmCorpus, store_dir: Path, draws: bool) -> CorpusReader:
    from reelvec.storage.corpora.synthetic.film_corpus import FilmOptions, FilmReader

    options = FilmOptions(**config.model_dump(exclude=_NOT_OF_READERS))
    return FilmReader(options, store_dir=store_dir, draws=draws)


BENCHMARKS: dict[str, tuple[str, str]] = {
    "msrvtt": ("reelvec.storage.corpora.benchmarks.msrvtt", "MsrvttReader"),
    "msvd": ("reelvec.storage.corpora.benchmarks.msvd", "MsvdReader"),
    "lsmdc": ("reelvec.storage.corpora.benchmarks.lsmdc", "LsmdcReader"),
    "didemo": ("reelvec.storage.corpora.benchmarks.didemo", "DidemoReader"),
    "activitynet": ("reelvec.storage.corpora.benchmarks.activitynet", "ActivityNetReader"),
    "vatex": ("reelvec.storage.corpora.benchmarks.vatex", "VatexReader"),
    "adaclip": ("reelvec.storage.corpora.benchmarks.adaclip", "AdaclipReader"),
}
"""Module and class of each benchmark's reader."""


def reader_class(kind: str) -> type[BenchmarkReader]:
    """The reader class of a benchmark; its module is imported now."""
    module, name = BENCHMARKS[kind]
    return cast("type[BenchmarkReader]", getattr(import_module(module), name))


def _benchmark(config: BenchmarkCorpus, _: Path, __: bool) -> CorpusReader:
    return reader_class(config.kind)(**config.model_dump(exclude=_NOT_OF_READERS))


READERS: dict[str, Callable[[Any, Path, bool], CorpusReader]] = {
    "folder": _folder,
    "synthetic": _synthetic,
    "stories": _stories,
    "films": _films,
    **dict.fromkeys(BENCHMARKS, _benchmark),
}


def open_corpus(
    config: CorpusConfig, *, store_dir: str | os.PathLike[str], draws: bool = True
) -> CorpusReader:
    """The reader of the configured corpus; nothing is read before its ``read()``.

    Args:
        config: One of the corpus classes of configs.schema, by its ``kind``.
        store_dir: Local root of the store; generated videos go below its ``sources``.
        draws: A drawn corpus draws what is not there yet; else it is only listed.

    Raises:
        CorpusError: no reader of that kind, or options it cannot use.
    """
    reader = READERS.get(config.kind)
    if reader is None:
        kinds = ", ".join(sorted(READERS))
        raise CorpusError(f"corpus kind {config.kind!r} is unknown; use one of: {kinds}")
    return reader(config, Path(store_dir).absolute(), draws)
