"""The failed videos that are tried once more."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable

from pydantic import BaseModel, ConfigDict, Field

from reelvec.storage.errors import ReelvecError
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome, Video
from reelvec.tasks.corpus.ingest import Corpus, key_of

__all__ = ["RetryFilter", "UnknownVideoError"]


class UnknownReasonError(ReelvecError, ValueError):
    """No failure has such a reason."""


class UnknownVideoError(ReelvecError, ValueError):
    """No failed video has such an id."""


class RetryFilter(BaseModel):
    """Failed videos by reason and by id; both empty: every failed video."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reasons: tuple[str, ...] = Field(default=())
    """Ledger reasons, e.g. timeout; empty: any."""
    videos: tuple[str, ...] = Field(default=())
    """Ids of videos; empty: any."""

    def at_ingest(self) -> Callable[[Video], bool]:
        """Whether a corpus row that failed at ingest is probed again."""

        def due(video: Video) -> bool:
            failed = video.status == Status.QUARANTINED
            return failed and self._names(video.reason, [video.video_id])

        return due

    def at_extract(self, corpus: Corpus) -> Callable[[Outcome], bool]:
        """Whether a clip with this outcome is decoded again."""
        names: dict[str, list[str]] = {}
        for video in corpus.videos:
            for key in {key_of(video), video.content_hash}:  # windows share the frames of its file
                names.setdefault(key, []).append(video.video_id)

        def due(outcome: Outcome) -> bool:
            failed = outcome.status != Status.OK
            return failed and self._names(outcome.reason, names.get(outcome.key, ()))

        return due

    def _names(self, reason: str, video_ids: Iterable[str]) -> bool:
        right_reason = not self.reasons or reason in self.reasons
        return right_reason and (not self.videos or any(v in self.videos for v in video_ids))

    def check(self) -> RetryFilter:
        """The filter itself.

        Raises:
            UnknownReasonError: a reason nothing ever has.
        """
        known = [str(reason) for reason in Reason if reason]
        for reason in self.reasons:
            if reason not in known:
                raise UnknownReasonError(
                    f"no failure has the reason ({reason}); there are {', '.join(known)}"
                )
        return self

    def check_videos(self, failed: Collection[str]) -> RetryFilter:
        """The filter itself.

        Args:
            failed: ids of the videos that failed or were salvaged.

        Raises:
            UnknownVideoError: an id that is not among them.
        """
        for video in self.videos:
            if video not in failed:
                near = difflib.get_close_matches(video, failed, n=3) or sorted(failed)[:3]
                there = f"the nearest are ({', '.join(near)})" if near else "no video failed"
                raise UnknownVideoError(
                    f"no failed video is called ({video}); {there}; `reelvec failures` lists them"
                )
        return self
