from __future__ import annotations

import argparse
import io
import math
import pickle
import sys
import types
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from reelvec.storage.errors import StoreError, WeightsError
from reelvec.storage.weights.checkpoints import (
    load_checkpoint,
    open_weights,
    read_weights,
    save_checkpoint,
    weights_hash,
)


class Tower(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = torch.nn.Sequential(torch.nn.Linear(3, 4).half(), torch.nn.GELU())
        self.attention = torch.nn.MultiheadAttention(4, 2)
        self.scale = torch.nn.Parameter(torch.tensor(2.5))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.tied = self.attention.in_proj_weight
        self.depth = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0] * self.scale + self.visual(x[..., :3].half()).float()


@pytest.fixture(scope="module")
def model() -> Tower:
    torch.manual_seed(0)
    return Tower().eval()


def assert_same(found: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    assert weights_hash(found) == weights_hash(state)


# -- ours ------------------------------------------------------------------------------------


def test_checkpoints_come_back(tmp_path: Path, model: Tower) -> None:
    state = model.state_dict()
    tensors = {f"weights/{name}": tensor for name, tensor in state.items()}
    tensors["optimizer/step"] = torch.tensor([7], dtype=torch.int64)
    tensors["rng"] = torch.get_rng_state()
    tensors["bf16"] = torch.ones(3, dtype=torch.bfloat16)
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, tensors=tensors, metadata={"epoch": 3, "seen": [1, 2.5, None, "é"]})
    checkpoint = load_checkpoint(path)
    assert checkpoint.metadata == {"epoch": 3, "seen": [1, 2.5, None, "é"]}
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(checkpoint.tensors[name], tensor)
    assert_same(checkpoint.weights, dict(state))
    assert_same(read_weights(path), dict(state))


def test_the_same_checkpoint_is_the_same_bytes(tmp_path: Path, model: Tower) -> None:
    state = model.state_dict()
    meta = {"a": 1, "b": [2], "c": {"d": 3}}
    save_checkpoint(tmp_path / "one", tensors=state, metadata=meta)
    turned = dict(reversed(state.items()))
    turned["attention.in_proj_weight"] = turned["attention.in_proj_weight"].clone()
    save_checkpoint(tmp_path / "two", tensors=turned, metadata=dict(reversed(meta.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_metadata_without_a_spelling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        save_checkpoint(tmp_path / "x", tensors={}, metadata={"loss": float("nan")})


def test_what_is_no_checkpoint_of_ours_is_named(tmp_path: Path) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="no checkpoint of ours"):
        load_checkpoint(tmp_path / "foreign.safetensors")
    assert read_weights(tmp_path / "foreign.safetensors").keys() == {"x"}
    save_checkpoint(tmp_path / "c", tensors={"x": torch.ones(500)}, metadata={})
    data = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(data[:-100])
    for path in ("c", "missing"):
        with pytest.raises(WeightsError):
            load_checkpoint(tmp_path / path)


# -- everybody else's ------------------------------------------------------------------------


def test_torchscript_archives_are_read_without_their_code(
    tmp_path: Path, model: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ViT-tiny.pt"
    torch.jit.trace(model, torch.randn(2, 1, 4)).save(str(path))
    script = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)))
    script.save(str(tmp_path / "script.pt"))
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch, "load", None)
    state = dict(model.state_dict())
    assert_same(read_weights(path), state)
    assert_same(read_weights(tmp_path / "script.pt"), dict(script.state_dict()))


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_are_read(tmp_path: Path, model: Tower, zipped: bool) -> None:
    path = tmp_path / "pytorch_model.bin.4"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert_same(read_weights(path), dict(model.state_dict()))


def test_views_and_strides_come_back(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    state = {"t": whole.T, "part": whole[1:3, ::2], "all": whole, "flags": whole[0] > 2}
    torch.save(state, tmp_path / "views.pt")
    assert_same(read_weights(tmp_path / "views.pt"), state)


def test_adaclip_checkpoints_are_read(tmp_path: Path, model: Tower) -> None:
    """config is an easydict.EasyDict, which is not installed here; module. is in the way."""
    fake = types.ModuleType("easydict")

    class EasyDict(dict):
        def __init__(self, values: dict) -> None:
            for key, value in values.items():
                setattr(self, key, value)

        def __setattr__(self, key: str, value: object) -> None:
            super().__setattr__(key, value)
            super().__setitem__(key, value)

    EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
    fake.EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules["easydict"] = fake
    optimizer = torch.optim.Adam(model.parameters())
    found = {
        "arch": "AdaCLIP",
        "epoch": 3,
        "state_dict": OrderedDict((f"module.{k}", v) for k, v in model.state_dict().items()),
        "config": EasyDict({"rate": 1, "nested": EasyDict({"num_frm": 8})}),
        "arguments": argparse.Namespace(gpu=0),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(found, tmp_path / "trained_model.pth")
    del sys.modules["easydict"]
    assert_same(read_weights(tmp_path / "trained_model.pth"), dict(model.state_dict()))


# -- hostile ---------------------------------------------------------------------------------


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("zipped", [True, False])
def test_no_pickle_runs_code(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / "evil.pt"
    state = {"w": torch.ones(2), "x": Evil(marker)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="evil"):
        read_weights(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()  # it would have


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "builtins.getattr", "torch.load", "torch.nn.Module"]
)
def test_names_that_are_not_needed_are_refused(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", f"c{module}\n{attribute}\n.")
    with pytest.raises(WeightsError, match=f"asks for {name}"):
        read_weights(path)


def test_bounds_and_compression_are_checked(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(4)}, tmp_path / "good.pt")
    for change in ("shorter", "packed"):
        path = tmp_path / f"{change}.pt"
        mode = zipfile.ZIP_DEFLATED if change == "packed" else zipfile.ZIP_STORED
        with (
            zipfile.ZipFile(tmp_path / "good.pt") as source,
            zipfile.ZipFile(path, "w", compression=mode) as target,
        ):
            for name in source.namelist():
                data = source.read(name)
                cut = change == "shorter" and "/data/" in name
                target.writestr(name, data[:8] if cut else data)
        with pytest.raises(WeightsError):
            read_weights(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_archives_are_refused_or_read_never_worse(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    stream = io.BytesIO()
    torch.save({"w": torch.arange(6.0), "b": torch.ones(2, dtype=torch.float16)}, stream)
    whole = bytearray(stream.getvalue())
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("x") / "x.pt"
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    try:
        state = read_weights(path)
    except WeightsError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x05\x06" + bytes(18), b"\x80\x04N."])
def test_what_is_no_weights_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="weights"):
        read_weights(path)
    with pytest.raises(WeightsError, match="no weights file at"):
        read_weights(tmp_path / "nowhere.pt")


def test_a_plain_pickle_is_refused_without_torchs_warnings(tmp_path: Path) -> None:
    path = tmp_path / "p.pt"
    path.write_bytes(pickle.dumps({"a": 1}, protocol=4))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(WeightsError, match=r"p\.pt is no weights file"):
            read_weights(path)
    assert seen == []


def test_a_file_of_optimizer_state_is_not_taken_for_weights(tmp_path: Path) -> None:
    torch.save({"epoch": 1, "optimizer_state_dict": {"0": torch.ones(2)}}, tmp_path / "o.bin")
    with pytest.raises(WeightsError, match="no tensors by name"):
        read_weights(tmp_path / "o.bin")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused_by_name(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    state = {"fine": torch.ones(5), "ids": torch.arange(3), "none": torch.zeros(0, 3)}
    state |= {"bad": torch.linspace(-1, 1, 999).to(dtype).reshape(3, 333).T}
    state["bad"][200, 1] = value
    torch.save(state, tmp_path / "w.pt")
    named = {f"weights/{name}": tensor for name, tensor in state.items()}
    save_checkpoint(tmp_path / "c", tensors=named, metadata={})
    for read, path in ((read_weights, "w.pt"), (read_weights, "c"), (load_checkpoint, "c")):
        with pytest.raises(WeightsError, match=r"NaN or infinite, in bad \(1\); every vector"):
            read(tmp_path / path)
    assert open_weights(tmp_path / "w.pt").tensors.keys() == state.keys()  # to look into it
    del named["weights/bad"]
    save_checkpoint(tmp_path / "c", tensors=named | {"optimizer/x": state["bad"]}, metadata={})
    assert load_checkpoint(tmp_path / "c").weights.keys() == {"fine", "ids", "none"}


def test_a_bound_that_cuts_nothing_is_no_broken_number(tmp_path: Path) -> None:
    """Gemma's layers are saved with them; the wrong infinity would make every number one."""
    limits = {"a.input_min": -math.inf, "a.input_max": math.inf, "a.output_max": math.inf}
    torch.save({name: torch.tensor(x) for name, x in limits.items()}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt").keys() == limits.keys()
    for wrong in (torch.tensor(math.inf), torch.tensor(math.nan), torch.tensor([-math.inf] * 2)):
        torch.save({"a.input_min": wrong, "b": torch.ones(1)}, tmp_path / "w.pt")
        with pytest.raises(WeightsError, match=r"NaN or infinite, in a\.input_min"):
            read_weights(tmp_path / "w.pt")


# -- the hash --------------------------------------------------------------------------------


def test_the_hash_is_of_the_weights_alone() -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    expected = weights_hash(state)
    assert len(expected) == 32
    assert weights_hash(dict(reversed(state.items()))) == expected
    assert weights_hash({**state, "a": state["a"].T.contiguous().T}) == expected
    changed = state["a"].clone()
    changed[1, 2] = torch.nextafter(changed[1, 2], torch.tensor(9.0))
    for other in (
        {**state, "a": changed},
        {**state, "a": state["a"].reshape(3, 2)},
        {**state, "a": state["a"].double()},
        {**state, "b": state["b"].half()},
        {"a": state["a"]},
        {"a": state["a"], "c": state["b"]},
    ):
        assert weights_hash(other) != expected


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b"BM", b"(}"], ids=["gzip", "picture", "pickle"])
def test_a_header_whose_length_looks_like_another_kind_is_read(tmp_path, magic):
    """Safetensors begins with the length of its header, which may spell anything."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    length = int.from_bytes(magic, "little")
    path = tmp_path / "w.safetensors"
    data = length.to_bytes(8, "little") + header.ljust(length) + b"\0\0\x80\x3f"
    path.write_bytes(data)
    assert read_weights(path)["a"].item() == 1.0
