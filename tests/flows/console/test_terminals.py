"""Names that would drive a terminal, printed by every command that prints names: text, no orders.

The store holds videos whose names ring, clear, retitle, turn round and break the line; the
terminals are one with UTF-8, one with ASCII, and one that knows no encoding at all (LANG=C).
"""

import io
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.flows.cli import main
from reelvec.flows.console.output import printable
from reelvec.storage.corpora import open_corpus
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.runs.recording import record_run
from tests.support.engine_free import run_all, stage_receipts
from tests.support.programs import ROOT

NAMES = [
    "\x1b]0;owned\x07title",  # OSC: sets the window's title
    "\x1b[2J\x1b[31mcleared",  # CSI
    "\x9b2J c1",  # CSI as one C1 character
    "turned\u202e4pm\u202c",
    "isolated\u2067x\u2069",
    "two\nreelvec: lines",
    "back\r\b\b\bspace",
    "tab\tbell\x07del\x7f",
    "line\u2028sep\u2029par\x85nel",
    "tag\U000e0041",
    "plain",
    "café \U0001f469\u200d\U0001f680 日本",
    "[bold]:smile:",
]
COMMANDS = [
    ["failures"],
    ["status"],
    ["search", "\x1b[31mred\x1b[0m"],
    ["verify"],
    ["gc", "--dry-run"],
    ["compact", "--dry-run"],
    ["failures", "--json"],
    ["status", "--json"],
    ["search", "\x1b[31mred", "--json"],
    ["failures", "--run", "\x1b]0;x\x07"],
    ["retry", "--video", "\x1b]0;x\x07"],
    ["embed", "\x1b]0;no\x07folder"],
    ["run", "no\x9bfile.yaml"],
    ["weights", "inspect", "no\u202efile.pt"],
    ["status", "too\x1b]0;many\x07words"],
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One video a name, every other one broken; a run with a name as bad, over a folder as bad."""
    folder = tmp_path_factory.mktemp("hostile") / "in\x1b[31mred"
    (folder / "videos").mkdir(parents=True)
    drawn = SyntheticCorpus(videos=len(NAMES), seconds=0.5, fps=4, size=64)
    clips = open_corpus(drawn, store_dir=tmp_path_factory.mktemp("drawn")).read().videos
    for number, (name, clip) in enumerate(zip(NAMES, clips, strict=True)):
        path = folder / "videos" / f"{name}.mp4"
        shutil.copy(clip.path, path) if number % 2 else path.write_text("no video")
    config = PipelineConfig.model_validate(
        {
            "name": "run\x1b]0;x\x07\nname",
            "store": str(folder / "store"),
            "corpus": {"kind": "folder", "videos": str(folder / "videos")},
            "extract": {"size": 64, "sampling": {"rate": 4.0}},
            "model": {"family": "frozen", "max_frames": 2},
            "train": {"epochs": 0},
        }
    )
    _, embeddings = run_all(config)
    session = Session(config)
    made = {"ingest": session.corpus.latest(), "extract": session.frames.latest()}
    made["embed"] = embeddings
    record_run(session, stage_receipts(made), started=datetime.now(UTC))
    assert {video.video_id for video in read_corpus(Session(config)).videos} == set(NAMES)
    return config.store


@pytest.fixture
def call(monkeypatch, store):
    """`reelvec WORDS… --store …` on a terminal of an encoding: (exit code, stdout, stderr)."""

    def run(words, encoding):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        has_store = words[0] not in ("weights", "run")
        monkeypatch.setattr(
            sys, "argv", ["reelvec", *words, *(["--store", store] if has_store else [])]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        monkeypatch.undo()
        for stream in streams:
            stream.flush()
        out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)
        return ended.value.code, out, err

    return run


def orders(text):
    """What a terminal would obey in `text`, ends of lines apart."""
    return {c for c in text if not c.isprintable() and c not in "\n\u200d"}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: printable(" ".join(words)))
def test_nothing_a_name_holds_reaches_a_terminal(call, words, encoding):
    code, out, err = call(words, encoding)
    assert code in (0, 1, 2) and "internal error" not in err
    assert orders(out) == orders(err) == set()
    assert "\nreelvec: lines" not in out
    assert err.count("\n") <= 4  # typer's usage has several lines, all others one


def test_json_reads_the_same_in_every_encoding(call):
    _, wide, _ = call(["failures", "--json"], "utf-8")
    _, narrow, _ = call(["failures", "--json"], "ascii")
    assert json.loads(wide) == json.loads(narrow)
    named = {row["video_id"] for row in json.loads(wide)["failures"]}
    assert named == set(NAMES[::2])
    _, found, _ = call(["search", "red", "--json", "--top", "99"], "ascii")
    assert {row["video_id"] for row in json.loads(found)["results"]} == set(NAMES[1::2])
    _, found, _ = call(["search", "red", "--json", "--top", "99"], "utf-8")
    assert "日本" in found  # letters stay letters


def test_a_name_is_still_told_from_another(call):
    """Escapes, not question marks; words in brackets and colons are no markup."""
    _, out, _ = call(["failures"], "ascii")
    for shown in (r"\x1b]0;owned\x07title", r"\x9b2J c1", "[bold]:smile:"):
        assert shown in out
    _, out, _ = call(["search", "red", "--top", "99"], "utf-8")
    assert r"turned\u202e4pm\u202c" in out and "café \U0001f469\u200d\U0001f680 日本" in out


@pytest.mark.parametrize("encoding", ["ascii", None])
def test_a_terminal_without_utf8_is_no_defect(store, encoding):
    """The program itself, as LANG=C starts it."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "PYTHON"))}
    given |= {"LANG": "C", "LC_ALL": "C", "PYTHONPATH": str(ROOT / ".editable")}
    if encoding:
        given["PYTHONIOENCODING"] = encoding
    else:
        given |= {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "reelvec.flows.cli", "failures", "--store", store],
        env=given, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\x1b]0;owned" in done.stdout and rb"\xe9" not in done.stdout.split(b"caf")[0]
    assert not {byte for byte in done.stdout if byte < 32 or byte > 126} - {10}
