"""`reelvec weights import|export`: what a person has is never lost, and folders are told apart."""

import os
import sys

import pytest
import torch

from reelvec.flows.cli import main
from reelvec.storage.errors import WeightsError
from reelvec.tasks.weights.choice import choose_weights
from reelvec.tasks.weights.files import ExportOptions, export_file, import_file, inspect_file
from tests.tasks.weights.test_weight_files import random_model


@pytest.fixture
def reelvec(tmp_path, monkeypatch, capsys):
    """Calls `reelvec weights WORDS…` in an empty folder: (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["reelvec", "weights", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, capsys.readouterr().err

    return call


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.bin"
    torch.save(random_model("xclip").state_dict(), path)
    return path


@pytest.mark.parametrize("command", ["import", "export"])
def test_an_output_that_exists_is_kept_unless_forced(command, reelvec, mine, tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"precious")
    code, err = reelvec(command, mine, out)
    assert code == 1 and f"({out}) exists already" in err and "--force" in err
    assert out.read_bytes() == b"precious"
    assert reelvec(command, mine, out, "--force") == (0, "")
    assert inspect_file(str(out))["families"][0]["family"] == "xclip"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.bin", out.name]


def test_one_argument_that_was_meant_as_the_source_is_kept(reelvec, mine, monkeypatch):
    """Before the store is even asked for its model."""
    before = mine.read_bytes()
    monkeypatch.setattr("reelvec.tasks.weights.files.last_config", None)
    code, err = reelvec("export", mine)
    assert code == 1
    for part in (f"({mine})", "the store's model", "--force", "FILE OUT"):
        assert part in err
    assert mine.read_bytes() == before


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_written_over_its_own_source(force, reelvec, mine, tmp_path):
    before = mine.read_bytes()
    for command in ("import", "export"):
        code, err = reelvec(command, mine, mine, *["--force"] * force)
        assert code == 1 and "over its own source" in err
    model = tmp_path / "hub" / "model.safetensors"
    model.parent.mkdir()
    model.write_bytes(b"precious")
    code, err = reelvec("import", f"hf:{model.parent}", model, *["--force"] * force)
    assert code == 1 and "over its own source" in err
    assert mine.read_bytes() == before and model.read_bytes() == b"precious"


@pytest.mark.parametrize("layout", ["state-dict", "safetensors"])
def test_a_failed_write_leaves_what_was_there(layout, mine, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.write_bytes(b"precious")

    def half(_, target, **__):
        (target.write if layout == "state-dict" else target.write_bytes)(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("reelvec.storage.weights.checkpoints.torch.save", half)
    monkeypatch.setattr("reelvec.storage.weights.checkpoints.save_file", half)
    with pytest.raises(KeyboardInterrupt):
        export_file(str(mine), out, store="unused", options=ExportOptions(layout, force=True))
    assert out.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.bin", "out"]


@pytest.mark.parametrize("layout", ["state-dict", "safetensors"])
def test_a_folder_that_is_not_there_is_named(layout, reelvec, mine, tmp_path):
    out = tmp_path / "nowhere" / "out"
    for words in (["import", mine, out], ["export", mine, out, "--format", layout]):
        code, err = reelvec(*words)
        assert code == 1 and f"no folder ({out.parent})" in err and err.count("\n") == 1
    code, err = reelvec("export", mine, tmp_path)
    assert code == 1 and f"({tmp_path}) is a folder" in err


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_files_have_the_mode_the_umask_gives(umask, mode, mine, tmp_path):
    before = os.umask(umask)
    try:
        import_file(str(mine), tmp_path / "a")
        for layout in ("state-dict", "safetensors"):
            export_file(str(mine), tmp_path / layout, store="", options=ExportOptions(layout))
    finally:
        os.umask(before)
    modes = {(tmp_path / n).stat().st_mode & 0o777 for n in ("a", "state-dict", "safetensors")}
    assert modes == {mode}


def test_a_folder_is_told_how_it_is_named(reelvec, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    for words in (["inspect", folder], ["import", folder], ["export", folder, tmp_path / "o"]):
        code, err = reelvec(*words)
        assert code == 1 and f"({folder}) is a folder" in err and "hf:" not in err
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    code, err = reelvec("inspect", folder)
    assert code == 1 and f"hf:{folder}" in err
    with pytest.raises(WeightsError, match=f"hf:{folder}"):
        choose_weights(folder, store="unused")
