"""The parity harness over the repository's goldens, and proof that it can fail."""

import hashlib
import json
import shutil
from functools import cache

import pytest
import torch
from safetensors.torch import save_file

from tests.parity.common import Golden, distance
from tests.parity.harness import check_file, main
from tests.parity.training import without_noise
from tests.resources import GOLDENS, GOLDENS_OF_HEADS


def index(folder):
    return json.loads((folder / "index.json").read_text(encoding="utf-8"))


@cache
def lines(name):
    return tuple(check_file(GOLDENS / name))


@pytest.mark.parametrize("name", index(GOLDENS)["files"])
def test_golden(name):
    assert lines(name) and [line for line in lines(name) if not line.ok] == []


def test_no_check_is_lost():
    """What the golden tests above compare, counted: a file that is read in part would show."""
    assert sum(len(lines(name)) for name in index(GOLDENS)["files"]) == 104


@pytest.mark.parametrize(("folder", "count"), [(GOLDENS, 48), (GOLDENS_OF_HEADS, 18)])
def test_goldens_are_whole(folder, count):
    listed = index(folder)
    found = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "README.md"}
    del found["index.json"]
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    assert hashes == {name: entry["sha256"] for name, entry in listed["files"].items()}
    assert len(hashes) == count
    assert sum(map(len, found.values())) == listed["total_bytes"]


def test_without_a_folder_the_repositorys_goldens_are_checked(capsys):
    assert main(["--only", "init_mapping"]) == 0
    assert "4 of 4 checks agree (4 files)" in capsys.readouterr().out


def test_a_family_that_is_not_built_neither_agrees_nor_fails(tmp_path, capsys):
    golden = Golden.read(GOLDENS_OF_HEADS / "drl_ti_seqLSTM.safetensors")
    other = golden.metadata | {"family": "another"}
    save_file(golden.tensors, tmp_path / "x.safetensors", metadata=other)
    assert main([str(tmp_path)]) == 2
    printed = capsys.readouterr().out
    assert "no such family here: another" in printed and "FAIL" not in printed
    assert "0 of 1 checks agree (1 files, 1 of no family here)" in printed


def test_goldens_of_heads(capsys):
    assert main([str(GOLDENS_OF_HEADS)]) == 0
    printed = capsys.readouterr().out
    assert "44 of 44 checks agree (18 files)" in printed


@pytest.mark.parametrize(
    ("case", "key", "by"),
    [
        ("teachclip_losses", "output/case2/grad_frame_scores64", 1e-8),
        ("teachclip_losses", "output/case3/fine_loss64", 1e-8),
        ("teachclip_seqTransf", "output/sim_coarse64", 1e-8),
        ("teachclip_seqTransf", "output/frame_weights_fixed", 1e-4),
        ("teachclip_seqTransf", "output/video_output", 1e-2),
        ("train_teachclip", "output/train_fine_loss64", 1e-8),
        ("train_teachclip", "output/train_lr_frame_linear", 1e-8),
        ("train_teachclip", "output/final/frameLinear2.weight64", 1e-8),
        ("xpool_multi_caption", "output/sim64", 1e-8),
        ("xpool_multi_caption", "output/sims_padded", 1e-3),
        ("xpool_multi_caption", "output/v2t_metrics", 1.0),
        ("train_xpool_head1", "output/final/clip.visual_projection.weight64", 1e-8),
        ("train_drl_dp_cdcr1", "output/train_cdcr64", 1e-8),
        ("ucofia_eval_code", "output/sim64", 1e-8),
    ],
)
def test_a_changed_number_of_a_student_is_seen(tmp_path, case, key, by):
    golden = Golden.read(GOLDENS_OF_HEADS / f"{case}.safetensors")
    changed = golden.tensors[key].clone()
    changed.view(-1)[0] += by
    save_file(golden.tensors | {key: changed}, tmp_path / "x.safetensors", metadata=golden.metadata)
    assert main([str(tmp_path)]) == 1


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


def test_columns_follow_the_inputs_in_whatever_order_groups_are_listed(tmp_path):
    golden = Golden.read(GOLDENS / "clip2video_TDB_selfA_TAB_TDB.safetensors")
    groups = json.dumps(golden.json("video_groups")[::-1])
    metadata = golden.metadata | {"video_groups": groups}
    assert groups != golden.metadata["video_groups"]
    save_file(golden.tensors, tmp_path / "case.safetensors", metadata=metadata)
    assert main([str(tmp_path)]) == 0


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


def test_what_cannot_be_checked_fails(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2 == main(["--only", "no such file"])
    (tmp_path / "mystery.json").write_text("{}")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    shutil.copy(GOLDENS / "tokenizer.json", tmp_path)
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("FAIL") == 2 and "1 of 3 checks agree (3 files)" in printed
    assert [line.ok for line in check_file(tmp_path / "absent.safetensors")] == [False]


def test_distance_sees_nan_and_shape():
    one = torch.tensor([1.0, torch.nan])
    assert distance(one, one) == 0
    assert distance(one, torch.ones(2)) == float("inf") == distance(one, torch.ones(3))
