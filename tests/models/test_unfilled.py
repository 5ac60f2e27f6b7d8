"""A model built for its shapes alone is, but for its numbers, the one that is built in earnest."""

import subprocess
import sys
import textwrap

import pytest
import torch

from reelvec.models.clip.architecture import SMALLEST, architecture
from reelvec.models.registry import build, family_names
from reelvec.models.unfilled import undrawn, unfilled


def built(family):
    return build(family, options={}, architecture=architecture(SMALLEST), max_words=8, max_frames=4)


def forms(model):
    """Name -> what is told of a parameter or buffer beside its numbers and its device."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: (x.shape, x.dtype, x.requires_grad, type(x)) for name, x in named}


@pytest.mark.parametrize("family", family_names())
def test_it_has_the_shapes_of_a_real_model_and_takes_its_tensors(family):
    real = built(family)
    with unfilled():
        model = built(family)
        assert forms(model) == forms(real)
        assert all(x.is_meta for x in model.parameters())
        model.load_state_dict({k: x.to("meta") for k, x in real.state_dict().items()})
        shapes = {k: x.to("meta") for k, x in real.state_dict().items()}
        name = next(iter(shapes))
        with pytest.raises(RuntimeError, match="size mismatch"):
            model.load_state_dict(shapes | {name: torch.empty(3, 1, 4, 1, 5)})


def test_only_what_changes_numbers_is_left_out():
    with unfilled():
        x = torch.zeros(2, 3)
        assert (2 * x).shape == (x / 4).shape == (2, 3)
        assert (x * torch.empty(5, 1, 3)).shape == (5, 2, 3)
        assert x.t().unsqueeze(0).shape == (1, 3, 2)
        assert torch.eye(3).shape == (3, 3) and torch.eye(3, 2).shape == (3, 2)
        assert torch.eye(3, dtype=torch.float64).dtype == torch.float64
        assert torch.ones(2, dtype=torch.int64).dtype == torch.int64
    assert torch.ones(2).tolist() == [1, 1]


def test_no_family_has_torch_work_its_shapes_out_in_python():
    """`torch._dynamo` takes as long to import as all the rest of torch."""
    lines = """
        import sys
        from reelvec.models.clip.architecture import SMALLEST, architecture
        from reelvec.models.registry import build, family_names
        from reelvec.models.unfilled import undrawn, unfilled

        sizes = {"architecture": architecture(SMALLEST), "max_words": 8, "max_frames": 4}
        for family in family_names():
            with unfilled():
                build(family, options={}, **sizes)
            assert "torch._dynamo" not in sys.modules, family
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(lines)], check=True)


def test_a_draw_that_is_repeated_until_it_fits_ends():
    numbers = torch.full((4,), 9.0)
    with undrawn():
        for _ in range(100):
            numbers.normal_(std=0.1)
            if numbers.abs().max() < 1:
                break
    assert numbers.abs().max() < 1
