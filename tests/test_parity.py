"""The parity harness over the shared goldens, and proof that it can fail."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.parity import check_file, files, main
from tests.parity_common import Golden, distance
from tests.parity_training import without_noise

GOLDENS = Path(__file__).parents[1] / ".." / "shared" / "goldens"
FILES = files(GOLDENS) if GOLDENS.is_dir() else []
needs_goldens = pytest.mark.skipif(not FILES, reason="../shared absent")


@needs_goldens
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path):
    lines = list(check_file(path))
    assert lines and [line for line in lines if not line.ok] == []


@needs_goldens
@pytest.mark.parametrize(
    ("case", "key", "by"),
    [
        ("clip4clip_meanP_2d", "output/sim64", 1e-8),
        ("clip4clip_meanP_2d", "output/sim", 5e-4),
        ("clip2video_TDB_selfA", "output/sim_legacy", 5e-4),
        ("clip2video_TDB_selfA", "output/sim_fixed", 1.0),
        ("clip4clip_seqTransf_2d", "state/transformerClip.resblocks.0.ln_1.bias", 1e-3),
        ("train_clip4clip_meanP_2d", "output/train_loss64", 1e-8),
        ("train_clip4clip_meanP_2d", "output/final/clip.logit_scale", 1e-4),
    ],
)
def test_a_changed_number_is_seen(tmp_path, case, key, by):
    golden = Golden.read(GOLDENS / f"{case}.safetensors")
    tensors = golden.tensors | {key: golden.tensors[key] + by}
    save_file(tensors, tmp_path / f"{case}.safetensors", metadata=golden.metadata)
    assert main([str(tmp_path)]) == 1


@needs_goldens
def test_columns_follow_the_inputs_in_whatever_order_groups_are_listed(tmp_path):
    golden = Golden.read(GOLDENS / "clip2video_TDB_selfA_TAB_TDB.safetensors")
    groups = json.dumps(golden.json("video_groups")[::-1])
    metadata = golden.metadata | {"video_groups": groups}
    assert groups != golden.metadata["video_groups"]
    save_file(golden.tensors, tmp_path / "case.safetensors", metadata=metadata)
    assert main([str(tmp_path)]) == 0


@needs_goldens
@pytest.mark.parametrize("source", ["clip", "zeros"])
def test_a_variants_parameters_and_not_its_name_say_what_it_is(tmp_path, source):
    table = json.loads((GOLDENS / "init_mapping_clip4clip.json").read_text(encoding="utf-8"))
    entry = table["variants"]["seqTransf_2d"]
    wanted = entry["parameters_outside_clip"]
    kept = {k: v for k, v in wanted.items() if "resblocks.2." not in k and "resblocks.3." not in k}
    entry["n_keys"] -= len(wanted) - len(kept)
    assert len(wanted) - len(kept) == 24
    if source == "zeros":
        kept["transformerClip.resblocks.1.ln_1.weight"] = source
    table["variants"] = {"shallow": entry | {"parameters_outside_clip": kept}}
    (tmp_path / "init_mapping_clip4clip.json").write_text(json.dumps(table))
    assert main([str(tmp_path)]) == (source == "zeros")


def test_only_parameters_whose_gradient_is_zero_may_differ_by_noise():
    outputs = {"grad_first_step/x64": torch.tensor([1e-17, 1e-5], dtype=torch.float64)}
    ours, wanted = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([5.0, 6.0])
    assert without_noise(ours, wanted, outputs, "x").tolist() == [5.0, 2.0]
    assert without_noise(ours, wanted, outputs, "y") is ours


@needs_goldens
def test_what_cannot_be_checked_fails(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    (tmp_path / "mystery.json").write_text("{}")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("FAIL") == 2


def test_distance_sees_nan_and_shape():
    one = torch.tensor([1.0, torch.nan])
    assert distance(one, one) == 0
    assert distance(one, torch.ones(2)) == float("inf") == distance(one, torch.ones(3))
