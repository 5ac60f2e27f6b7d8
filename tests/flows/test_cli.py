"""The command line's surface: exactly these words; errors are one message and an exit code."""

import importlib.metadata
import json
from types import SimpleNamespace

import pytest
from typer.main import get_command

from reelvec.flows.commands.app import app
from reelvec.tasks.training.exports import Curves
from tests.support.command_line import typed

WORDS = {
    "bootstrap", "compact", "convert", "corpus", "curves", "demo", "deploy", "diff", "doctor",
    "drop", "embed", "evaluate", "export", "failures", "forget", "gc", "history", "index",
    "metrics", "migrate", "models", "presets", "promote", "reembed", "repair", "report", "retry",
    "rollback", "run", "runs", "search", "search-time", "serve", "status", "sweep", "tag", "tags",
    "untag", "verify", "weights",
}  # fmt: skip


@pytest.fixture
def reelvec(monkeypatch, capsys, tmp_path):
    """Calls `reelvec WORDS…` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        return typed(monkeypatch, capsys, *words)

    return call


@pytest.fixture
def empty_store(tmp_path):
    """The default store of that folder, as a run that was stopped at once leaves it."""
    (tmp_path / "reelvec-store" / ".scratch").mkdir(parents=True)


def test_the_surface_grows_only_on_purpose():
    commands = get_command(app).commands
    assert set(commands) == WORDS
    assert set(commands["corpus"].commands) == {"check"}
    assert set(commands["weights"].commands) == {"export", "import", "inspect"}


def test_version_and_the_short_help(reelvec):
    code, out, _ = reelvec("--version")
    assert code == 0
    assert out.startswith(f"reelvec {importlib.metadata.version('reelvec')} ")
    for words in ([], ["verify"], ["corpus"], ["corpus", "check"], ["weights", "export"]):
        assert reelvec(*words, "-h") == reelvec(*words, "--help")
        assert reelvec(*words, "-h")[0] == 0


def test_json_is_one_document_and_nothing_else(reelvec, empty_store):
    for words in (["presets"], ["status"], ["verify"], ["repair"], ["doctor"]):
        _, out, _ = reelvec(*words, "--json")
        json.loads(out)


def test_optional_arguments_stand_in_one_pair_of_brackets(reelvec):
    for words in (["evaluate"], ["history"], ["tag"], ["weights", "import"]):
        assert "[[" not in reelvec(*words, "-h")[1]


def test_curves_of_a_run_that_trained_nothing_are_said(reelvec, monkeypatch):
    bare = SimpleNamespace(name="bare", curves=Curves((), ()))
    store = SimpleNamespace(run=lambda _: bare)
    monkeypatch.setattr("reelvec.flows.commands.training.opened_store", lambda _: store)
    assert reelvec("curves") == (0, "Nothing was trained in the run (bare): it has no curve\n", "")


def test_an_empty_store_has_nothing(reelvec, empty_store):
    code, out, _ = reelvec("status", "--json")
    assert (code, json.loads(out)["artifacts"]) == (0, [])


@pytest.mark.parametrize("words", [["search", "a cat"], ["failures"], ["retry"], ["evaluate"]])
def test_words_that_need_a_run_say_so(reelvec, empty_store, words):
    code, out, err = reelvec(*words)
    assert (code, out) == (1, "")
    assert "no run in the store" in err and "reelvec demo" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["retry", "--reason", "tmeout"], ["tmeout", "timeout"]),
        (["convert", "--to", "hdf5"], ["no frames", "reelvec run"]),
        (["weights", "export", "out.bin"], ["no run in the store"]),
    ],
)
def test_what_an_empty_store_lacks_is_named(reelvec, empty_store, words, parts):
    code, out, err = reelvec(*words)
    assert (code, out) == (1, "")
    assert all(part in err for part in parts) and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["run", "dmeo"], 2, ["(dmeo)", "(demo)"]),
        (["run", "missing.yaml"], 2, ["missing.yaml"]),
        (["run", "demo", "--set", "train.epocs=1"], 2, ["train.epocs", "epochs"]),
        (["run", "demo", "--set", "model.family=clip5clip"], 2, ["clip5clip", "clip4clip"]),
        (["run", "demo", "--set", "extract.size=48"], 2, ["(48)", "extract.size=64"]),
        (["run", "folder", "--set", "model.weights=hf:x/y"], 2, ["(hf:x/y)", "family=frozen"]),
        (["run", "demo", "--stage", "trian"], 2, ["trian", "train"]),
        (["run", "folder", "--set", "model.weights=no.pt"], 2, ["(no.pt) is not there"]),
        (["run", "demo", "--set", "extract.sampling.policy=foo"], 2, ["'foo'", "per_second"]),
        (["run", "demo", "--set", "evaluate.rerank=[dual]"], 2, ["(dual)", "dual_softmax"]),
        (["embed", ""], 2, ["() is not a folder"]),
        (["corpus", "check", "msrvt", "--root", "."], 2, ["(msrvt)", "msrvtt"]),
        (["corpus", "check", "msrvtt", "--root", "nowhere"], 2, ["(nowhere) is no folder"]),
        (["embed", "nowhere"], 2, ["(nowhere)", "folder"]),
        (["embed", ".", "--weights", "nowhere.pt"], 2, ["no file with a video's name"]),
        (["corpus", "check", "msvdd"], 2, ["(msvdd)"]),
        (["corpus", "check", "msvd", "--videos", "v"], 2, ["--annotations"]),
        (["weights", "inspect", "nowhere.pt"], 1, ["nowhere.pt"]),
        (["weights", "import", "hf:./nowhere"], 1, ["hf:./nowhere", "hf:ORG/NAME"]),
        (["models", "check", "hf:"], 1, ["(hf:) names no folder", "hf:FOLDER"]),
        (["models", "check", "."], 1, ["no config.json", "what model it is", "save_pretrained"]),
        (["weights", "export", "a", "b", "c"], 2, ["FILE OUT"]),
        (["weights", "export", "out.bin", "--format", "zip"], 2, ["(zip)", "state-dict", "pth"]),
        *(
            (words, 2, ["no store at (reelvec-store)", "reelvec embed"])
            for words in (
                *(["status"], ["verify"], ["failures"], ["retry"], ["evaluate"]),
                *(["search", "a cat"], ["convert", "--to", "hdf5"], ["evaluate", "demo"]),
            )
        ),
    ],
)
def test_a_persons_mistake_is_one_message(reelvec, words, code, parts):
    found, out, err = reelvec(*words)
    assert (found, out) == (code, "")
    assert err.count("\n") <= 2 and "Traceback" not in err
    for part in parts:
        assert part in err


def test_a_file_without_a_corpus_is_not_the_synthetic_one(reelvec, tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {epochs: 1}\n")
    code, out, err = reelvec("run", "mine.yaml")
    assert (code, out) == (2, "")
    assert "(mine.yaml) names no corpus" in err and "preset: folder" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--keep", "0"], "'--keep': it must be at least 1, not (0)"),
        (["--keep=x"], "'--keep': it must be a whole number, not (x)"),
    ],
)
def test_a_rule_of_an_option_is_said_in_our_words_with_the_value(reelvec, given, said):
    code, _, err = reelvec("gc", *given)
    assert code == 2 and said in err


@pytest.mark.parametrize("command", [["run", "none"], ["gc"], ["drop", "x"], ["status"]])
def test_an_empty_store_name_is_not_the_default_one(reelvec, tmp_path, command):
    """`--store "$STROE"`: a shell's variable that is not set."""
    code, out, err = reelvec(*command, "--store", "")
    assert (code, out) == (2, "")
    assert "'--store': it is empty; name a folder, or leave --store out" in err
    assert not any(tmp_path.iterdir())


def test_a_choice_that_is_none_is_said_as_typer_says_it(reelvec):
    code, _, err = reelvec("compact", "--kind", "nonsense")
    assert code == 2
    assert "Invalid value for '--kind': 'nonsense' is not one of 'corpus', 'frames'" in err
