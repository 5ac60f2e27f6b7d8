"""Outputs a person names: whole or not there, refused before anything is written."""

import signal
import subprocess
import sys

import pytest

from reelvec.storage.errors import StoreError, WeightsError
from reelvec.storage.weights.paths import check_output, existing_file, new_output


def test_an_output_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "out"
    with new_output(path) as scratch:
        assert scratch.parent == tmp_path  # the same file system: a rename is atomic there
        scratch.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_what_is_replaced_is_never_half_there(tmp_path):
    """Whoever has the old file open keeps reading the old one: a new file took its name."""
    path = tmp_path / "out"
    path.write_bytes(b"before")
    with path.open("rb", buffering=0) as reader:
        with new_output(path, force=True) as scratch:
            scratch.write_bytes(b"after!")
        assert (reader.read(), path.read_bytes()) == (b"before", b"after!")


def test_a_killed_process_leaves_what_was_there(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"before")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from reelvec.storage.weights.paths import new_output\n"
        "with new_output(Path(sys.argv[1]), force=True) as scratch:\n"
        "    scratch.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"before"
    (stray,) = set(tmp_path.iterdir()) - {path}
    assert stray.name.startswith(".reelvec-") and stray.suffix == ".part"


def test_a_file_made_in_the_meantime_is_kept(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(WeightsError, match="exists already"):  # noqa: PT012, SIM117
        with new_output(path) as scratch:
            scratch.write_bytes(b"mine")
            path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    target.write_bytes(b"before")
    link.symlink_to(target)
    with new_output(link, force=True) as scratch:
        scratch.write_bytes(b"after")
    assert link.is_symlink() and target.read_bytes() == b"after"


def test_an_error_of_the_system_names_the_output(tmp_path):
    path = tmp_path / "out"
    with (
        pytest.raises(StoreError, match=f"cannot write {path}: Permission denied"),
        new_output(path),
    ):
        raise PermissionError(13, "Permission denied")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("force", [False, True])
def test_what_cannot_be_an_output_is_refused(force, tmp_path):
    with pytest.raises(WeightsError, match=r"is a folder; name the file"):
        check_output(tmp_path, force=force)
    with pytest.raises(WeightsError, match=rf"no folder \({tmp_path}/a\) to write \(b\) into"):
        check_output(tmp_path / "a" / "b", force=force)
    with pytest.raises(WeightsError, match="no ordinary file"):
        check_output(type(tmp_path)("/dev/null"), force=force)
    check_output(tmp_path / "new", force=force)


def test_folders_are_told_what_they_look_like(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights file at \(.*nowhere\)"):
        existing_file(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="is a folder, no weights file; name a file in it"):
        existing_file(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(WeightsError, match=f"--store {tmp_path}"):
        existing_file(tmp_path)
    (tmp_path / "config.json").touch()
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    with pytest.raises(WeightsError, match=f"named hf:{tmp_path}"):
        existing_file(tmp_path)


def test_a_link_to_itself_is_no_file_and_may_be_replaced(tmp_path):
    loop = tmp_path / "loop.pt"
    loop.symlink_to(loop)
    with pytest.raises(WeightsError, match="no weights file at"):
        existing_file(loop)
    with new_output(loop) as scratch:
        scratch.write_bytes(b"weights")
    assert loop.read_bytes() == b"weights"
