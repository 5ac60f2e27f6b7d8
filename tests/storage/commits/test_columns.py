"""Ledgers in receipts: packed where they are long, plain where short, and as they always were."""

import json

import pytest

from reelvec.storage.commits import columns as code
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.roots import open_root
from tests.storage.commits.contracts import TABLE, rows_in_force, write_part


def made(count):
    return {
        "key": [f"clip-é-{number}" for number in range(count)],
        "detail": [f"{number:032x} test ok " for number in range(count)],
        "attempts": list(range(count)),
    }


@pytest.mark.parametrize("count", [0, 1, code.PACKED_FROM - 1, code.PACKED_FROM, 5000])
def test_what_is_packed_comes_back(count):
    columns = made(count)
    written = json.loads(json.dumps(code.pack(columns)))
    assert ("packed" in written) is (count >= code.PACKED_FROM)
    assert code.unpack(written) == columns
    assert code.pack(columns) == code.pack(made(count))  # the same rows, the same bytes


def test_a_long_ledger_takes_less_than_half():
    columns = made(512)
    assert len(json.dumps(code.pack(columns))) < 0.5 * len(json.dumps(columns))


def stored(folder, *, rows):
    artifact = Artifact.open(open_root(folder), kind="frames", identity={"size": 64})
    receipt = write_part(artifact, {f"k{n:04d}": ("ok", n) for n in range(rows)})
    return artifact.publish(add=[receipt])


def test_a_long_plain_ledger_of_before_opens_as_ever(tmp_path, monkeypatch):
    packed = stored(tmp_path / "packed", rows=200)
    with monkeypatch.context() as before:
        before.setattr(code, "PACKED_FROM", 10**9)
        plain = stored(tmp_path / "plain", rows=200)
    found = []
    for snapshot, is_packed in ((packed, True), (plain, False)):
        (part,) = snapshot.parts(TABLE)
        text = snapshot.artifact.root.local_path(f"{snapshot.artifact.folder}/{part.receipt.path}")
        body = json.loads(text.read_text(encoding="utf-8"))["body"]
        assert ("packed" in body["inputs"]) is is_packed
        found.append(
            (list(part.outcomes()), rows_in_force(snapshot), list(iter_ledger(snapshot, TABLE)))
        )
    assert found[0] == found[1]
