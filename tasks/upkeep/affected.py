"""The video ids that a damaged file belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import StoreError
from reelvec.storage.roots import Root
from reelvec.storage.upkeep.verify import Damage
from reelvec.tasks.corpus.ingest import Corpus, corpus_at, key_of

__all__ = ["affected_videos"]

_OF_VIDEOS = ("corpus", "frames", "audio", "embeddings")


def affected_videos(root: Root, damages: Sequence[Damage]) -> list[tuple[str, ...]]:
    """For each damage the ids of its videos, sorted; a key no corpus knows stands for itself.

    Damage of checkpoints, evaluations and run records concerns no video in particular. A corpus
    that is damaged itself names what can still be read of it. One pass over the corpora of the
    store; only names of damaged keys are kept.
    """
    keys = (key for damage in damages for key in _keys(damage))
    wanted = {name for key in keys for name in (key, _file_of(key))}
    names = _names(root, wanted) if wanted else {}
    ids_of_damages = []
    for damage in damages:
        corpora = _corpora(root, damage)
        ids: set[str] = set()
        for key in _keys(damage):
            named = names.get(key) or names.get(_file_of(key)) or set()
            known = [v for corpus, v in named if corpora is None or corpus in corpora]
            ids.update(known or [key])
        ids_of_damages.append(tuple(sorted(ids)))
    return ids_of_damages


def _keys(damage: Damage) -> tuple[str, ...]:
    return damage.keys if damage.kind in _OF_VIDEOS else ()


def _file_of(key: str) -> str:
    """What names the file of a window, or of a file without one."""
    before, _, after = key.partition("@")
    return before or after


def _corpora(root: Root, damage: Damage) -> set[str] | None:
    """Corpora whose ids the keys are; None: any, since a clip's key is made of its bytes."""
    if damage.kind == "corpus":
        return {damage.fingerprint}
    if damage.kind == "embeddings":
        artifact = Artifact(root, kind=damage.kind, fingerprint=damage.fingerprint)
        try:
            return {str(artifact.identity["corpus"])}
        except (StoreError, KeyError):
            return None
    return None


def _names(root: Root, wanted: set[str]) -> dict[str, set[tuple[str, str]]]:
    """{key: {(corpus, video_id)}} of the wanted keys."""
    names: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for artifact in Artifact.all(root):
        if artifact.kind != "corpus":
            continue
        for rows in (_of_videos, _of_captions):
            try:
                snapshot = artifact.latest()
                for key, video_id in rows(corpus_at(snapshot)) if snapshot else ():
                    if key in wanted:
                        names[key].add((artifact.fingerprint, video_id))
            except StoreError:
                continue  # damaged itself: verify says so, and what was read stays
    return names


def _of_videos(corpus: Corpus) -> Iterator[tuple[str, str]]:
    for video in corpus.videos:
        yield video.video_id, video.video_id
        yield key_of(video), video.video_id


def _of_captions(corpus: Corpus) -> Iterable[tuple[str, str]]:
    return ((caption.caption_id, caption.video_id) for caption in corpus.captions)
