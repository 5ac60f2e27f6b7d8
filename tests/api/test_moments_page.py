"""docs/moments.md: searches and the cell run as they are written, configurations are valid."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.corpora import WindowsConfig
from reelvec.tasks.runs.preflight import check_config
from tests.support.command_line import typed

PAGE = (Path(__file__).parents[2] / "docs" / "moments.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(film_store, tmp_path, monkeypatch):
    (tmp_path / "films-store").symlink_to(film_store.store)
    monkeypatch.chdir(tmp_path)


def blocks(kind):
    return [text for found, text in BLOCK.findall(PAGE) if found == kind]


@pytest.mark.usefixtures("folder")
def test_the_commands_run(monkeypatch, capsys):
    commands = [shlex.split(line) for text in blocks("") for line in text.splitlines()]
    assert [words[1] for words in commands] == ["run", "search", "search"]
    for _, *words in commands[1:]:
        code, out, err = typed(monkeypatch, capsys, *words)
        assert (code, "film-" in out) == (0, True), (words, err)
    assert '"best_seconds": ' in out and '"best_seconds": null' not in out
    code, out, err = typed(monkeypatch, capsys, *commands[1][1:], "--csv")
    assert out.splitlines()[0].endswith("split,start_seconds,end_seconds,best_seconds,path")
    code, out, err = typed(monkeypatch, capsys, *commands[1][1:], "--csv", "--whole")
    assert out.splitlines()[0].endswith("split,start_seconds,end_seconds,path")


@pytest.mark.usefixtures("folder")
def test_the_cell_runs(tmp_path, capsys):
    (cell,) = blocks("python")
    (tmp_path / "cell.py").write_text(cell)
    named = runpy.run_path(str(tmp_path / "cell.py"))
    assert capsys.readouterr().out.count("film-") == 3
    assert named["row"].best_seconds is None and named["windows"].num_rows > 9


def test_the_configurations_are_valid_and_the_keys_are_all_there():
    (own,) = map(yaml.safe_load, blocks("yaml"))
    own["model"].pop("weights")
    check_config(PipelineConfig.model_validate(own | {"extract": own["extract"] | {"size": 64}}))
    check_config(PipelineConfig(preset="films"))
    named = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert named == list(WindowsConfig.model_fields)


@pytest.mark.parametrize(
    "sampling", [{"policy": "uniform"}, {"policy": "per_second", "max_frames": 12}]
)
def test_frames_that_do_not_grow_with_a_film_are_refused(sampling):
    corpus = {"kind": "folder", "videos": "/videos", "windows": {}}
    extract = {"size": 64, "sampling": sampling}
    with pytest.raises(ConfigError, match="however long it is"):
        check_config(PipelineConfig.model_validate({"corpus": corpus, "extract": extract}))
