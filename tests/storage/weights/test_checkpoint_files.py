"""Checkpoint files as the file system sees them: their mode, and a disk that is full."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import StoreError
from reelvec.storage.roots import open_root
from reelvec.storage.weights.checkpoints import load_checkpoint, save_checkpoint, save_state


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_parts_of_a_store_have_the_mode_the_umask_gives(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        artifact = Artifact.open(open_root(tmp_path), kind="checkpoint", identity={"a": 1})
        with artifact.new_part(table="checkpoints", shard="s", suffix=".safetensors") as part:
            save_checkpoint(part.path, tensors={"x": torch.ones(2)}, metadata={})
            receipt = part.commit(rows=0, schema="", outcomes=[])
    finally:
        os.umask(before)
    (file,) = tmp_path.rglob(Path(receipt.part).name)
    assert file.stat().st_mode & 0o777 == mode


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.touch()
    path.chmod(0o604)
    save_checkpoint(path, tensors={"x": torch.ones(2)}, metadata={})
    assert path.stat().st_mode & 0o777 == 0o604
    assert load_checkpoint(path).tensors.keys() == {"x"}


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both libraries hide the system's error in one of their own."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError(f"I/O error: No space left on device (os error {errno.ENOSPC})")

    monkeypatch.setattr("reelvec.storage.weights.checkpoints.save_file", full)
    with pytest.raises(StoreError, match="free space"):
        save_checkpoint(tmp_path / "c", tensors={"x": torch.ones(2)}, metadata={})
    with pytest.raises(StoreError, match="free space"):
        save_state(Path("/dev/full"), {"x": torch.ones(50_000)})


@pytest.mark.parametrize("save", [partial(save_checkpoint, metadata={}), save_state])
def test_a_write_that_stops_halfway_is_an_error_of_the_system(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    state = {"x": torch.ones(50_000)}
    words = {"tensors": state} if isinstance(save, partial) else {"state": state}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(tmp_path / "x", **words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
