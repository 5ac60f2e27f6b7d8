"""The command `report`: beside another run, under a name that stays, opened if asked for."""

import shutil
import sys

import pytest

import reelvec
from reelvec.errors import ReelvecError
from reelvec.flows.cli import main
from reelvec.flows.console import browser
from reelvec.flows.reporting import draw_report, latest_report
from reelvec.storage.errors import MissingArtifactError


def unseen(failures, *, sources):
    return tuple(failures)


@pytest.fixture
def config(real_store, tmp_path, monkeypatch):
    """Of the last run of a store to change; its failures are not looked into here."""
    monkeypatch.setattr("reelvec.tasks.reports.gathering.with_pictures", unseen)
    shutil.copytree(real_store.store, tmp_path / "store")
    return real_store.config.model_copy(update={"store": str(tmp_path / "store")})


def test_a_comparison_stands_beside_the_plain_page(config, monkeypatch, capsys):
    earlier = reelvec.open(config.store).runs()[0].identifier
    with pytest.raises(MissingArtifactError, match="no report is at"):
        latest_report(config.store)
    summary = draw_report(config, against=earlier)
    plain = reelvec.open(config.store).run().report()
    assert f"Compared with {earlier}" in latest_report(config.store).read_text()
    assert summary.outcome.report != str(plain) and "Compared with" not in plain.read_text()

    opened = []
    monkeypatch.setattr(browser.webbrowser, "get", lambda: Windows(opened))
    command = ["reelvec", "report", "--store", config.store, "--open"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    latest = latest_report(config.store)
    assert ended.value.code == 0 and opened == [latest.as_uri()]
    assert latest.read_text() == plain.read_text() and str(latest) in capsys.readouterr().out


class Windows:
    """A browser with windows."""

    def __init__(self, opened):
        self._opened = opened

    def open(self, url):
        self._opened.append(url)
        return True


def test_what_cannot_be_compared_is_said_before_any_work(config):
    with pytest.raises(ReelvecError, match="no run is called"):
        draw_report(config, against="nope")
    with pytest.raises(MissingArtifactError):
        latest_report(config.store)
