from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelvec.storage import layout
from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.sealing import seal, unseal

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
BODIES = st.dictionaries(st.text(), JSON, max_size=5)
PRINT = layout.fingerprint({})


@given(BODIES)
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(body: dict) -> None:
    turned = dict(reversed(body.items()))
    assert layout.fingerprint(body) == layout.fingerprint(turned)
    assert layout.is_fingerprint(layout.fingerprint(body))
    assert layout.fingerprint({**body, "one more": 1}) != layout.fingerprint(body)


def test_tuples_and_lists_are_one_identity_but_one_and_true_are_two() -> None:
    assert layout.fingerprint({"a": (1, 2)}) == layout.fingerprint({"a": [1, 2]})
    assert layout.fingerprint({"a": 1}) != layout.fingerprint({"a": True})
    assert layout.fingerprint({"a": 1}) != layout.fingerprint({"a": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes", {1, 2}])
def test_what_has_no_spelling_is_refused(value: object) -> None:
    with pytest.raises(StoreError, match="cannot be an identity"):
        layout.fingerprint({"a": value})


def test_paths_are_as_documented() -> None:
    folder = layout.artifact("frames", PRINT)
    assert folder == f"frames/{PRINT}"
    assert layout.identity(folder) == f"{folder}/identity.json"
    part = layout.new_part(folder, table="frames", shard="00012-a.b", suffix=".arrow")
    assert part.startswith(f"{folder}/parts/frames-00012-a.b-") and part.endswith(".arrow")
    receipt = layout.receipt_of(part)
    assert receipt == part.replace("/parts/", "/receipts/").replace(".arrow", ".json")
    below = part.removeprefix(f"{folder}/")
    assert layout.receipt_of(below) == receipt.removeprefix(f"{folder}/")
    assert layout.snapshot(folder, 7) == f"{folder}/snapshots/00000007.json"
    assert layout.number_of("00000007.json") == 7
    assert layout.number_of("123456789.json") == 123456789
    assert layout.number_of(layout.pin(folder, 42).rpartition("/")[2]) == 42
    assert layout.number_of(".nfs0001") is None
    assert layout.run("20260101T000000", "ab") == "runs/20260101T000000-ab.json"


@given(
    st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=20),
    st.sampled_from([".arrow", ".h5", ".parquet", ".safetensors", ".tar.gz"]),
)
def test_a_receipt_is_found_from_any_part_name(shard: str, suffix: str) -> None:
    if shard[0] in ".-":
        return
    one = layout.new_part(f"corpus/{PRINT}", table="videos", shard=shard, suffix=suffix)
    other = layout.new_part(f"corpus/{PRINT}", table="videos", shard=shard, suffix=suffix)
    assert one != other
    assert layout.receipt_of(one) != layout.receipt_of(other)
    assert layout.receipt_of(one).endswith(".json")
    assert f"videos-{shard}-" in layout.receipt_of(one)


@pytest.mark.parametrize("bad", ["", "../up", "a/b", "a\0", ".hidden", "x" * 300, "naïve", "a b"])
def test_names_that_could_leave_the_folder_are_refused(bad: str) -> None:
    folder = layout.artifact("frames", PRINT)
    with pytest.raises(StoreError, match="cannot name a"):
        layout.new_part(folder, table=bad, shard="0", suffix=".arrow")
    with pytest.raises(StoreError, match="cannot name a"):
        layout.new_part(folder, table="t", shard=bad, suffix=".arrow")
    with pytest.raises(StoreError, match="suffix"):
        layout.new_part(folder, table="t", shard="0", suffix=f".{bad}/")
    with pytest.raises(StoreError, match="no artifact is of kind"):
        layout.artifact(bad, PRINT)
    with pytest.raises(StoreError, match="no fingerprint"):
        layout.artifact("frames", bad)


@given(BODIES, st.sampled_from([None, 2]))
def test_sealed_bodies_come_back_and_are_plain_json(body: dict, indent: int | None) -> None:
    data = seal(body, indent=indent)
    assert unseal(data, path="x") == body
    assert json.loads(data)["body"] == body


@given(BODIES, st.data())
def test_no_flip_and_no_cut_of_a_sealed_file_goes_unseen(body: dict, data: st.DataObject) -> None:
    sealed = bytearray(seal(body))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError, match="damaged"):
        unseal(bytes(sealed), path="x")
    whole = seal(body)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(IntegrityError, match="damaged"):
        unseal(whole[:cut], path="x")
    with pytest.raises(IntegrityError):
        unseal(whole + b" ", path="x")
