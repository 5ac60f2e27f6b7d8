"""What the commands that run the pipeline hand to it: each launches once, with all it was given."""

import sys

import pytest

from reelvec.flows import launch
from reelvec.flows.cli import main


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Calls `reelvec WORDS…` and gives the keywords of every launch."""
    given = []
    for name in ("launch", "retry_failed"):
        monkeypatch.setattr(launch, name, lambda *_, **keywords: given.append(keywords))
    monkeypatch.setattr(launch, "show", lambda _: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "st" / ".scratch").mkdir(parents=True)
    (tmp_path / "a.mp4").touch()
    (tmp_path / "mine.yaml").write_text("corpus: {kind: folder, videos: .}")

    def call(*words):
        given.clear()
        monkeypatch.setattr(sys, "argv", ["reelvec", *words, "--store", "st"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return list(given)

    return call


@pytest.mark.parametrize("words", [["demo"], ["run", "mine.yaml"], ["embed", "."], ["retry"]])
def test_rehash_reaches_the_pipeline(launched, words):
    (plain,) = launched(*words)
    (again,) = launched(*words, "--rehash")
    assert (plain.get("rehash", False), again["rehash"]) == (False, True)


@pytest.mark.parametrize("words", [["run", "mine.yaml"], ["embed", "."]])
def test_switches_of_one_call_come_together(launched, words):
    (given,) = launched(*words, "--rehash", "--accept-losses")
    assert (given["rehash"], given["accept_losses"]) == (True, True)


@pytest.mark.parametrize(
    ("words", "person", "opened"),
    [
        (["demo"], True, 1),
        (["demo"], False, 0),
        (["demo", "--no-open"], True, 0),
        (["run", "mine.yaml"], True, 0),
    ],
)
def test_a_demo_ends_with_its_page_where_a_person_is(launched, monkeypatch, words, person, opened):
    shown = []
    monkeypatch.setattr("reelvec.flows.commands.running.is_person", lambda: person)
    monkeypatch.setattr(
        "reelvec.flows.page.serving.serve_page", lambda store, *, options: shown.append(store.uri)
    )
    launched(*words)
    assert [uri.endswith("/st") for uri in shown] == [True] * opened


def test_a_demos_page_is_of_the_store_it_made(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(launch, "launch", lambda *_, **__: None)
    monkeypatch.setattr(launch, "show", lambda _: None)
    monkeypatch.setattr("reelvec.flows.commands.running.is_person", lambda: True)
    monkeypatch.setattr(
        "reelvec.flows.page.serving.serve_page", lambda store, *, options: shown.append(store.uri)
    )
    monkeypatch.delenv("REELVEC_STORE", raising=False)
    (tmp_path / "there" / ".scratch").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["reelvec", "demo", "--set", "store=there"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert [uri.rpartition("/")[2] for uri in shown] == ["there"]


@pytest.mark.parametrize(
    ("words", "variable", "store"),
    [([], None, "of-file"), ([], "of-variable", "of-variable"), (["--store", "st"], "other", "st")],
)
def test_a_files_store_stands_unless_another_is_named(
    monkeypatch, tmp_path, words, variable, store
):
    stores = []
    monkeypatch.setattr(launch, "launch", lambda config, **_: stores.append(config.store))
    monkeypatch.setattr(launch, "show", lambda _: None)
    monkeypatch.delenv("REELVEC_STORE", raising=False)
    if variable:
        monkeypatch.setenv("REELVEC_STORE", variable)
    (tmp_path / "mine.yaml").write_text("{corpus: {kind: folder, videos: .}, store: of-file}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["reelvec", "run", "mine.yaml", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert stores == [store]
