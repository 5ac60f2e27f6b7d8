"""Files of a folder that are probed while this process imports torch: ingest then has them.

Nothing is written: what was found waits in memory for the row that is about the same file.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from reelvec.configs.decoding import FileLimits
from reelvec.configs.uris import is_uri
from reelvec.storage.corpora.own.folder import FolderReader
from reelvec.storage.errors import ReelvecError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.reasons import Status
from reelvec.storage.records import Video
from reelvec.tasks.decoding.files import probe_files
from reelvec.tasks.decoding.preloading import begin_imports

__all__ = ["ProbesAhead", "begin_decoding", "found_ahead"]

_OF_THE_ROW = {"video_id", "path", "split", "start_seconds", "end_seconds"}
"""Fields of a row that are not about its file."""


class ProbesAhead:
    """Probes of the videos of a folder, one after the other, until they are asked for.

    Args:
        folder: of the videos.
        limits: of a file.
    """

    def __init__(self, folder: str, *, limits: FileLimits) -> None:
        self._folder, self._limits = str(Path(folder).expanduser().resolve()), limits
        self._found: dict[str, Video] = {}
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._probe, name="reelvec-ahead", daemon=True)
        self._thread.start()

    def take(self, video: Video, *, limits: FileLimits) -> Video | None:
        """The row with what was found in its file; None: not probed, or written to since.

        Whoever asks has begun to probe by itself: no further file is begun here.
        """
        self._asked.set()
        found = self._found.pop(video.path, None)
        if found is None or _plain(limits) != self._limits or FileMark.at(found.path) != found.mark:
            return None
        names = {field.name for field in dataclasses.fields(Video)} - _OF_THE_ROW
        return dataclasses.replace(video, **{name: getattr(found, name) for name in names})

    def _probe(self) -> None:
        try:
            videos = FolderReader(self._folder).read().videos
            for found in probe_files(self._until_asked(videos), limits=self._limits):
                if found.status == Status.OK:
                    self._found[found.path] = found
        except (ReelvecError, OSError):
            pass  # ingest meets it too, and says it
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            # else a signal's, which ends the command: the main thread says so

    def _until_asked(self, videos: Sequence[Video]) -> Iterator[Video]:
        for video in videos:
            if self._asked.is_set():
                return
            yield video


def _plain(limits: FileLimits) -> FileLimits:
    return FileLimits(**limits.model_dump(include=set(FileLimits.model_fields)))


_AHEAD: list[ProbesAhead] = []
"""That of this process, if any."""


def begin_decoding(folder: str, *, store: str, rehash: bool) -> None:
    """Start what decodes, and where the store is not there yet, probe the folder's videos.

    Raises:
        OSError: no process can be started.
    """
    begin_imports()
    if not (rehash or is_uri(folder) or is_uri(store) or Path(store).exists()):
        _AHEAD[:] = [ProbesAhead(folder, limits=FileLimits())]


def found_ahead(video: Video, *, limits: FileLimits) -> Video | None:
    """The row with what was found in its file ahead; None: nothing, or nothing that is true now."""
    for ahead in _AHEAD:
        return ahead.take(video, limits=limits)
    return None
