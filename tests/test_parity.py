"""The parity harness over the shared goldens, and proof that it can fail."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.parity import check_file, files, main
from tests.parity_common import Golden, distance

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
