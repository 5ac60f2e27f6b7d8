"""Reads a run's corpus before anything is started: its files, and the splits it needs."""

from __future__ import annotations

from collections.abc import Collection

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.corpora import DRAWN
from reelvec.storage import layout
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.errors import CorpusError, MissingArtifactError
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import Corpus, read_corpus
from reelvec.tasks.identity import corpus_identity
from reelvec.tasks.training.finding import find_trained

__all__ = ["rehearse_corpus"]

_SHOWN = 3
_DRAWN_SPLITS = ("train", "val", "test")
"""Splits of a drawn corpus, which is not drawn for a rehearsal."""


def rehearse_corpus(session: Session, *, stages: Collection[str]) -> None:
    """Read the corpus as `stages` will, and see that there are captions to train and score on.

    A corpus without any caption is embedded and not scored, which is nothing to refuse.

    Raises:
        CorpusError: the corpus' files do not hold what they promise.
        ConfigError: no caption to train on, or in the split that is scored.
    """
    config, wanted = session.config, _wanted(session.config, stages)
    if config.corpus.kind in DRAWN:
        open_corpus(config.corpus, store_dir=session.root.local_folder)
        captioned: set[str] | None = set(_DRAWN_SPLITS)
    else:
        captioned = _captioned(_listed(session, stages), enough=wanted)
    missing = wanted - captioned if captioned is not None else set()
    there = ", ".join(sorted(captioned or ())) or "none"
    if "train" in missing and "train" in stages and not _is_trained(session):
        raise ConfigError(
            f"train.epochs ({config.train.epochs}) needs captions of videos of the split train, and"
            f" there are none (splits with captions: {there}); give captions and a split train, or"
            " set train.epochs=0 to use the starting weights as they are",
            key="train.epochs",
        )
    if captioned and config.evaluate.split in missing and "evaluate" in stages:
        raise ConfigError(
            f"evaluate.split ({config.evaluate.split}) has no video with captions (splits with"
            f" captions: {there}); set evaluate.split to one of these, or give it captions",
            key="evaluate.split",
        )


def _wanted(config: PipelineConfig, stages: Collection[str]) -> set[str]:
    """Splits that must have captions."""
    trains = {"train"} if "train" in stages and config.train.epochs else set()
    return trains | ({config.evaluate.split} if "evaluate" in stages else set())


def _is_trained(session: Session) -> bool:
    """Whether the model is there already, trained on captions of before."""
    return _is_known(session) and find_trained(session) is not None


def _is_known(session: Session) -> bool:
    """Whether the store has heard of this corpus; asking makes nothing in it."""
    fingerprint = layout.fingerprint(corpus_identity(session.config))
    try:
        session.find("corpus", fingerprint)
    except MissingArtifactError:
        return False
    return True


def _listed(session: Session, stages: Collection[str]) -> CorpusListing | Corpus:
    """The corpus as its files name it; as its tables do where no stage reads the files."""
    if "ingest" not in stages:
        return read_corpus(session) if _is_known(session) else CorpusListing((), ())
    store_dir = session.root.local_folder
    listing = open_corpus(session.config.corpus, store_dir=store_dir).read()
    if listing.problems and not any(True for _ in listing.captions):
        raise CorpusError(f"no caption could be read: {'; '.join(listing.problems[:_SHOWN])}")
    return listing


def _captioned(corpus: CorpusListing | Corpus, *, enough: Collection[str]) -> set[str] | None:
    """Splits that have captions, until all of `enough` are seen; None: every split has."""
    split_of = {video.video_id: video.split for video in corpus.videos}
    found: set[str] = set()
    for caption in corpus.captions:
        if found.issuperset(enough) and found:
            break
        split = split_of.get(caption.video_id, "")
        if not split:
            return None
        found.add(split)
    return found
