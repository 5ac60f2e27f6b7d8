"""Whatever call the system refuses in the middle of commits and gc: words, and nothing is lost.

The long form, over a whole run and every command, is `tests.drills.faults`.
"""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, RefusedError, StoreError
from reelvec.storage.places.failures import explained, words_for
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.repair import repair_store
from reelvec.storage.upkeep.verify import verify_store
from tests.storage.commits.contracts import ok, write_part
from tests.storage.commits.test_power_loss import STORE, one_run

CALLS: dict[str, tuple[ModuleType, int]] = {
    "fsync": (os, errno.EIO),
    "link": (os, errno.ENOSPC),
    "unlink": (os, errno.EIO),
    "mkdir": (os, errno.EROFS),
    "open": (io, errno.EMFILE),
    "listdir": (os, errno.ESTALE),
    "scandir": (os, errno.EACCES),
    "stat": (os, errno.ESTALE),
}
EACH = 3


@contextmanager
def failing(call: str, folder: Path, *, number: int) -> Iterator[list[int]]:
    """The `number`-th such call below the folder fails; how many there were."""
    module, error = CALLS[call]
    plain, seen = getattr(module, call), [0]

    def fail(*arguments: Any, **options: Any) -> Any:
        place = arguments[-1] if call == "link" else arguments[0]
        path = os.readlink(f"/proc/self/fd/{place}") if call == "fsync" else os.fspath(place)
        if str(path).startswith(str(folder)):
            seen[0] += 1
            if seen[0] == number:
                raise OSError(error, os.strerror(error), str(path))
        return plain(*arguments, **options)

    with mock.patch.object(module, call, fail):
        yield seen


def rows(folder: Path) -> dict[str, list[str]]:
    root = open_root(folder / STORE)
    found = {artifact.kind: artifact.latest() for artifact in Artifact.all(root)}
    return {kind: list(latest.live("rows")) for kind, latest in found.items() if latest}


def what_it_says(folder: Path) -> str:
    try:
        one_run(folder, lambda _: None)
    except StoreError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("call", list(CALLS))
def test_what_the_system_refuses_is_said_and_mended(tmp_path: Path, call: str) -> None:
    whole = tmp_path / "whole"
    with failing(call, whole, number=0) as seen:
        one_run(whole, lambda _: None)
    one_run(whole, lambda _: None)  # which has it settle
    wanted = rows(whole)
    assert wanted
    chosen = random.Random(call).sample(range(1, seen[0] + 1), min(EACH, seen[0]))
    said = 0
    for number in chosen:
        hurt = tmp_path / f"{number}"
        with failing(call, hurt, number=number):
            words = what_it_says(hurt)
        said += bool(words)
        assert not words or str(hurt) in words
        assert not words or os.strerror(CALLS[call][1]) in words
        for _ in range(2):
            one_run(hurt, lambda _: None)
        assert rows(hurt) == wanted
        assert verify_store(open_root(hurt / STORE)) == []
    assert said or call == "unlink", "scratch files alone may stay"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    artifact = Artifact.open(LocalRoot(tmp_path), kind="corpus", identity={"a": 1})
    artifact.publish(add=[write_part(artifact, ok("a"))])
    return artifact


@pytest.mark.parametrize("place", ["parts", "receipts", "snapshots"])
def test_a_record_in_force_that_is_gone_says_what_brings_it_back(
    artifact: Artifact, tmp_path: Path, place: str
) -> None:
    (file,) = (tmp_path / artifact.folder / place).iterdir()
    file.unlink()
    if place == "snapshots":  # the number is known from what gc removed after it
        from reelvec.storage.commits.retention import write_removal

        write_removal(artifact.root, artifact.folder, latest=1, snapshots=[], files=[])
    again = Artifact(LocalRoot(tmp_path), kind="corpus", fingerprint=artifact.fingerprint)
    with pytest.raises(MissingArtifactError, match=f"reelvec repair --store {tmp_path}") as caught:
        read_all(again)
    assert file.name in str(caught.value)


def read_all(artifact: Artifact) -> None:
    latest = artifact.latest()
    assert latest is not None
    for part in latest.parts():
        assert part.receipt.rows == 1
        assert part.path.is_file()


def test_verify_does_not_take_a_refusal_for_damage(artifact: Artifact, tmp_path: Path) -> None:
    with failing("open", tmp_path, number=0) as seen:
        assert verify_store(artifact.root) == []
    for number in range(1, seen[0] + 1):
        with failing("open", tmp_path, number=number), pytest.raises(RefusedError, match="ulimit"):
            verify_store(artifact.root)


def test_bytes_that_the_disk_cannot_read_are_damage(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CALLS, "open", (io, errno.EIO))
    with failing("open", tmp_path / artifact.folder / "parts", number=1):
        (damage,) = verify_store(artifact.root)
    assert "Input/output error" in damage.what
    assert damage.keys == ("a",)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EFBIG])
def test_each_refusal_has_a_remedy_of_its_own(number: int) -> None:
    with pytest.raises(StoreError) as caught, explained("read", path=Path("/a")):
        raise OSError(number, os.strerror(number))
    assert f"cannot read /a: {os.strerror(number)}: " in str(caught.value)
    assert words_for(OSError(number, os.strerror(number), "/b")).startswith("cannot use /b: ")


def test_an_error_that_names_another_file_passes() -> None:
    with (
        pytest.raises(OSError, match="video") as caught,
        explained("write", path=Path("/part"), only=(errno.EIO,)),
    ):
        raise OSError(errno.EIO, "failed", "/video.mp4")
    assert not isinstance(caught.value, StoreError)
    assert words_for(ConnectionError(errno.ECONNRESET, "not ours")) == ""


def test_what_the_disk_cannot_read_is_repaired_and_what_it_refuses_is_not(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = io.open
    failure = errno.EMFILE

    def fail(place: Any, *arguments: Any, **options: Any) -> Any:
        if f"{artifact.folder}/parts" in str(place):
            raise OSError(failure, os.strerror(failure), str(place))
        return plain(place, *arguments, **options)

    monkeypatch.setattr(io, "open", fail)
    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(RefusedError, match="ulimit"):
        repair_store(artifact.root)
    failure = errno.EIO
    (repair,) = repair_store(artifact.root)
    assert repair.damage.keys == ("a",)
    monkeypatch.undo()
    again = Artifact(LocalRoot(tmp_path), kind="corpus", fingerprint=artifact.fingerprint)
    assert verify_store(again.root) == []
    assert again.orphan_receipts() == []
    latest = again.latest()
    assert latest is not None and latest.entries == ()
