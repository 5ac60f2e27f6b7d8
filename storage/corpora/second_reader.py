"""A second process that reads folders while its owner reads others.

Of millions of files most of a listing is the kernel's time, a file after the other. Threads would
hand each other the interpreter's lock at every file; another process does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from reelvec.storage.corpora.folders import Folder, read_folder

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["MANY", "SecondReader"]

MANY = 500_000
"""Files looked at before a second process is worth its start, half a second."""
_NUMBERS = 4  # of a mark


class SecondReader:
    """Reads the folder that is wanted next; nothing until there were `MANY` files.

    Its owner does without it wherever it has no answer, and so loses nothing but time with it.
    """

    def __init__(self) -> None:
        self._left = MANY
        self._second: tuple[subprocess.Popen[bytes], Connection[Any, Any]] | None = None
        self._asked: Path | None = None
        self._is_up = False
        self._ready: dict[Path, Folder | OSError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def count(self, numbers: int) -> None:
        """So many numbers of marks were made; none where nobody looks, which costs little."""
        self._left -= numbers // _NUMBERS
        if self._left <= 0 and len(os.sched_getaffinity(0)) > 1:
            self._left = sys.maxsize  # it is started once
            self._second = _started()

    def ask(self, pending: Sequence[tuple[str, Path]]) -> None:
        """Have the last of these read, which its owner wants next, if it reads nothing yet."""
        if self._second is None or not pending:
            return
        if self._second[1].poll() and self._asked is None:
            self._is_up = self._word() is not None  # its first word
        elif self._asked is not None and self._second[1].poll():
            self._take()
        here = pending[-1][1]
        if self._is_up and self._asked is None and here not in self._ready:
            self._send(here)

    def answer(self, here: Path) -> Folder | None:
        """What it found in this folder; None: it was not asked, or is no more.

        Raises:
            OSError: the folder cannot be read.
        """
        if self._asked == here:
            self._take()
        found = self._ready.pop(here, None)
        if isinstance(found, OSError):
            raise found
        return found

    def _send(self, here: Path) -> None:
        try:
            if self._second is not None:
                self._second[1].send(here)
                self._asked = here
        except OSError:
            self._end()

    def _take(self) -> None:
        here, self._asked = self._asked, None
        found = self._word()
        if here is not None and isinstance(found, Folder | OSError):
            self._ready[here] = found

    def _word(self) -> Any:
        """What it says next; None: it was killed, and is forgotten."""
        try:
            return self._second[1].recv() if self._second is not None else None
        except (EOFError, OSError):
            self._end()
            return None

    def _end(self) -> None:
        if self._second is not None:
            process, line = self._second
            self._second, self._is_up = None, False
            line.close()
            process.kill()
            process.wait()


def _started() -> tuple[subprocess.Popen[bytes], Connection[Any, Any]]:
    from multiprocessing.connection import Pipe  # no cost of listings that are short

    path = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    ours, theirs = Pipe()
    with theirs:
        # -P: the working directory must not put modules of its own in front of ours
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # what it cannot do its owner does, and says
            start_new_session=True,  # Ctrl-C is for the owner alone
        )
    return process, ours


def _serve(line: int) -> None:
    """Answer until the owner is gone: one word first, that it is up, then one a folder."""
    from multiprocessing.connection import Connection

    with Connection(line) as owner:
        owner.send(True)
        while True:
            try:
                here = owner.recv()
            except EOFError:
                return
            try:
                owner.send(read_folder(here, looks=True))
            except OSError as error:
                owner.send(error)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
