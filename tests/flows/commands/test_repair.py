"""`reelvec repair` as a person runs it: damage out, the last run's stages again, videos named."""

import json

import pytest

from tests.drills.bitflips import build, checksums, files_of, flip
from tests.support.command_line import typed

pytestmark = pytest.mark.flow


def reelvec(monkeypatch, capsys, *words):
    code, out, err = typed(monkeypatch, capsys, *words)
    assert code in (0, 4) and out, err
    return code, out


def test_a_damaged_store_is_whole_again(prefect_server, tmp_path, monkeypatch, capsys):
    store = build(tmp_path).store
    wanted = checksums(store)
    damaged = files_of(store)["frames part"][0]
    flip(damaged, 4321)
    assert reelvec(monkeypatch, capsys, "verify", "--store", store)[0] == 4
    code, out = reelvec(monkeypatch, capsys, "repair", "--store", store, "--json")
    found = json.loads(out)
    assert (code, found["left"]) == (0, [])
    (repaired,) = found["repaired"]
    assert repaired["path"].endswith(damaged.name)
    assert repaired["what"] and repaired["done"]
    assert 0 < len(found["videos"]) == len(repaired["keys"]) < 8
    assert checksums(store) == wanted
    assert reelvec(monkeypatch, capsys, "verify", "--store", store)[0] == 0
    code, out = reelvec(monkeypatch, capsys, "repair", "--store", store)
    assert (code, "nothing is damaged" in out) == (0, True)
