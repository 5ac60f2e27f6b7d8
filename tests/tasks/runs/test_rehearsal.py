"""Mistakes that could only be found after hours are said first, and nothing is written."""

import csv
import sys
from types import SimpleNamespace

import pytest
import torch

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.flows.cli import main
from reelvec.storage.errors import CorpusError
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.runs.rehearsal import rehearse_corpus
from reelvec.tasks.runs.settled import choose_stages

NO_GPU = "PyTorch finds no GPU here"


@pytest.fixture
def corpus(tmp_path):
    """Three files called videos, and captions of them in the splits train and val."""
    folder = tmp_path / "videos"
    folder.mkdir()
    rows = [("path", "caption", "split")]
    for name, split in (("a", "train"), ("b", "val"), ("c", "val")):
        (folder / f"{name}.mp4").write_bytes(b"never opened")
        rows.append((f"{name}.mp4", f"caption {name}", split))
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return {
        "kind": "folder",
        "videos": str(folder),
        "captions": str(tmp_path / "captions.csv"),
    }


def config_of(tmp_path, corpus, **changes):
    """A run that would do, changed by dotted keys."""
    document = {
        "store": str(tmp_path / "store"),
        "corpus": dict(corpus),
        "extract": {"size": 64},
        "model": {"architecture": "tiny"},
        "train": {"epochs": 1, "device": "cpu"},
        "embed": {"device": "cpu"},
        "evaluate": {"split": "val"},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        document[section][name] = value
    return PipelineConfig.model_validate(document)


def rehearse(config, stages=None):
    config = checked_config(config)
    rehearse_corpus(Session(config), stages=choose_stages(stages))


LATE = [
    ({"train__device": "cuda"}, rf"train.device is \(cuda\), and {NO_GPU}"),
    ({"embed__device": "cuda"}, rf"embed.device is \(cuda\), and {NO_GPU}"),
    ({"train__processes": 4, "train__batch_size": 3}, r"train.processes \(4\).*each process needs"),
    ({"model__family": "frozen"}, r"model.family \(frozen\) is not trained; set train.epochs=0"),
    ({"evaluate__split": "test"}, r"evaluate.split \(test\) has no video.*captions: train, val\)"),
    ({"evaluate__split": "vla"}, r"evaluate.split \(vla\) has no video with captions"),
    ({"corpus__captions": None}, r"train.epochs \(1\) needs captions.*captions: none\)"),
    (
        {"corpus__splits": {"test": 1.0}, "corpus__captions": "nosplit.csv"},
        r"train.epochs \(1\) needs",
    ),
    ({"corpus__columns": {"caption": "sentence"}}, "sentence"),
    ({"corpus__captions": "other.csv"}, "no column is called caption.*did you mean 'sentence'"),
    ({"corpus__captions": "/nowhere/captions.csv"}, "/nowhere/captions.csv"),
    ({"corpus__videos": "/nowhere/videos"}, "/nowhere/videos"),
    ({"model__weights": "/nowhere/w.pt"}, r"model.weights \(/nowhere/w.pt\) is not there"),
    ({"model__options": {"sim_header": "tightTransf"}, "model__max_frames": 77}, "positions for"),
]


@pytest.mark.parametrize(("changes", "said"), LATE, ids=[", ".join(row[0]) for row in LATE])
def test_what_can_only_fail_late_is_said_first(tmp_path, corpus, changes, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    heads = {"nosplit.csv": "path,caption", "other.csv": "path,sentence"}
    for name, head in heads.items():
        (tmp_path / name).write_text(f"{head}\na.mp4,caption a\n")
    if changes.get("corpus__captions") in heads:
        changes = changes | {"corpus__captions": str(tmp_path / changes["corpus__captions"])}
    rehearse(config_of(tmp_path, corpus))
    with pytest.raises((ConfigError, CorpusError), match=said):
        rehearse(config_of(tmp_path, corpus, **changes))
    assert not (tmp_path / "store").exists()


def test_what_a_run_does_not_need_is_not_asked_for(tmp_path, corpus):
    plain = config_of(tmp_path, corpus, train__epochs=0, evaluate__split="test")
    rehearse(plain, ["ingest", "extract", "train", "embed"])
    rehearse(config_of(tmp_path, corpus | {"captions": None}, train__epochs=0))
    rehearse(config_of(tmp_path, {"kind": "synthetic"}))
    with pytest.raises(CorpusError, match="theora"):
        rehearse(config_of(tmp_path, {"kind": "synthetic", "codecs": ["theora"]}))
    (tmp_path / "everywhere.csv").write_text("path,caption\na.mp4,caption a\n")
    everywhere = corpus | {"captions": str(tmp_path / "everywhere.csv")}
    rehearse(config_of(tmp_path, everywhere, evaluate__split="test"))


def test_more_processes_than_gpus(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    rehearse(config_of(tmp_path, corpus, train__processes=2))  # on the CPU there may be more
    with pytest.raises(
        ConfigError, match=r"train.processes \(2\) is more than the GPUs here \(1\)"
    ):
        rehearse(config_of(tmp_path, corpus, train__processes=2, train__device="auto"))


@pytest.mark.parametrize(
    ("key", "value"), [("corpus.columns", "{caption: sentence}"), ("evaluate.split", "tset")]
)
def test_the_command_line_ends_with_2_before_anything_is_started(
    tmp_path, corpus, key, value, monkeypatch, capsys
):
    def started(*_, **__):
        raise AssertionError("a server would be started")

    flows = SimpleNamespace(pipeline=started)
    monkeypatch.setitem(sys.modules, "reelvec.flows.pipeline", flows)
    config = config_of(tmp_path, corpus)
    file = tmp_path / "run.yaml"
    file.write_text(config.model_dump_json(exclude={"store"}))  # JSON is YAML
    store = tmp_path / "store"
    words = ["reelvec", "run", str(file), "--store", str(store), "--set", f"{key}={value}"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and value.strip("{}").split()[-1] in capsys.readouterr().err
    assert not store.exists()
