"""CLIP's towers against torch's own attention, written out, and against their key lists."""

import math

import pytest
import torch
from torch import nn

from reelvec.models.clip.architecture import ARCHITECTURES, Architecture, architecture
from reelvec.models.clip.blocks import (
    CLIP_EPS,
    HEADER_EPS,
    Block,
    LayerNorm,
    Transformer,
    quick_gelu,
)
from reelvec.models.clip.towers import ClipTowers
from reelvec.models.clip.weights import is_half, legacy_fp16
from reelvec.models.errors import OptionsError, WeightsError
from tests.models.contracts_family import SIZES, captions

torch.set_num_threads(1)


def naive_block(block, x, *, mask=None, eps=CLIP_EPS):
    """The block from `nn.MultiheadAttention` and formulas; mask [B * heads, L, L]."""
    width = x.shape[-1]
    attention = nn.MultiheadAttention(width, block.attn.heads, batch_first=True).to(x.dtype)
    attention.load_state_dict(block.attn.state_dict())

    def norm(layer, y):
        mean = y.mean(-1, keepdim=True)
        spread = (y - mean).pow(2).mean(-1, keepdim=True)
        return (y - mean) / torch.sqrt(spread + eps) * layer.weight + layer.bias

    y = norm(block.ln_1, x)
    x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
    hidden = block.mlp.c_fc(norm(block.ln_2, x))
    return x + block.mlp.c_proj(hidden / (1 + torch.exp(-1.702 * hidden)))


@pytest.mark.parametrize("eps", [CLIP_EPS, HEADER_EPS])
def test_block_is_the_naive_one(eps):
    torch.manual_seed(0)
    block = Block(32, heads=4, eps=eps).double()
    nn.init.normal_(block.attn.in_proj_bias)
    x = torch.randn(3, 5, 32).double()
    added = torch.zeros(3, 5).double()
    added[1, 3:] = -1e6
    long = added[:, None, None].expand(3, 4, 5, 5).reshape(12, 5, 5)
    wanted = naive_block(block, x, mask=long, eps=eps)
    torch.testing.assert_close(block(x, added[:, None, None]), wanted, rtol=0, atol=1e-12)
    causal = torch.full((5, 5), -torch.inf).triu(1).double()
    wanted = naive_block(block, x, mask=causal, eps=eps)
    torch.testing.assert_close(block(x, None, True), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_first_only_is_the_first_of_all(layers):
    torch.manual_seed(1)
    stack = Transformer(32, layers=layers, heads=2).double()
    x = torch.randn(4, 6, 32).double()
    mask = (torch.rand(4, 1, 1, 6) < 0.3).double() * -1e6
    whole, first = stack(x, mask=mask), stack(x, mask=mask, first_only=True)
    assert first.shape == (4, 1, 32)
    torch.testing.assert_close(first, whole[:, :1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lengths", [(6, 1, 4), (6, 6, 6), (0, 3, 6), (0, 0, 0)])
def test_layers_over_real_tokens_alone_give_what_all_of_them_would(lengths, checkpointing):
    torch.manual_seed(1)
    stack = Transformer(32, layers=2, heads=2).double()
    stack.activation_checkpointing = checkpointing
    real = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    x = torch.randn(3, 6, 32).double().requires_grad_()
    mask = (~real).double()[:, None, None] * -1e6

    def found_by(work):
        stack.zero_grad()
        x.grad = None
        out = work()
        (out * real[..., None] * torch.arange(32.0)).sum().backward()
        return [out[real], x.grad, *(p.grad for p in stack.parameters())]

    wanted = found_by(lambda: stack(x, mask=mask))
    rows = []
    hook = stack.resblocks[1].mlp.c_fc.register_forward_hook(
        lambda _part, given, _out: rows.append(given[0].shape[:-1].numel())
    )
    found = found_by(lambda: stack.of_real(x, real, mask=mask))
    hook.remove()
    assert set(rows) == {sum(lengths) or real.numel()}
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_broken_video_spoils_no_other_through_the_padding():
    torch.manual_seed(1)
    stack = Transformer(32, layers=2, heads=2)
    real = torch.arange(6)[None] < torch.tensor([4, 2, 5])[:, None]
    x = torch.randn(3, 6, 32)
    x[0, 3] = torch.nan
    mask = (~real).float()[:, None, None] * -1e6
    found = stack.of_real(x, real, mask=mask)
    assert found[0, :4].isnan().all()
    assert found[1:][real[1:]].isfinite().all()


def test_quick_gelu_without_gradients_is_the_same_and_leaves_what_it_is_given():
    x = torch.randn(50)
    before = x.clone()
    with torch.no_grad():
        found = quick_gelu(x)
    assert torch.equal(x, before)
    assert torch.equal(found, x * torch.sigmoid(1.702 * x))


def test_norms_compute_in_fp32_and_cast_back():
    norm = LayerNorm(8)
    x = torch.randn(3, 8).half() * 100
    assert norm(x).dtype == torch.float16
    torch.testing.assert_close(norm(x), nn.functional.layer_norm(x.float(), (8,)).half())
    assert norm.double()(x.double()).dtype == torch.float64


def test_what_follows_the_end_token_changes_nothing_before():
    torch.manual_seed(2)
    towers = ClipTowers(SIZES).double()
    ids = captions(5)
    other = ids.clone()
    for row in other:
        row[row.argmax() + 1 :] = 7
    end = ids.argmax(1)
    rows = torch.arange(5)
    a, b = towers.encode_text(ids)[rows, end], towers.encode_text(other)[rows, end]
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    shorter = towers.encode_text(ids[:, :4])
    torch.testing.assert_close(shorter, towers.encode_text(ids)[:, :4], rtol=0, atol=1e-12)


def test_fresh_3d_equals_2d_and_conv1_rests():
    torch.manual_seed(3)
    flat = ClipTowers(SIZES).double()
    torch.manual_seed(4)
    deep = ClipTowers(SIZES, linear_patch="3d").double()
    state = flat.state_dict()
    still = state["visual.conv1.weight"]
    zero = torch.zeros_like(still)
    state["visual.conv2.weight"] = torch.stack([zero, still, zero], 2)
    deep.load_state_dict(state)
    frames = torch.randn(2, 3, 3, 8, 8).double()
    torch.testing.assert_close(deep.encode_video(frames), flat.encode_video(frames))
    assert not deep.visual.conv1.weight.requires_grad
    with pytest.raises(OptionsError, match="give 2d or 3d"):
        ClipTowers(SIZES, linear_patch="4d")


def test_3d_patch_sees_its_neighbours():
    """conv2 written as three conv2d over the frame before, the frame itself, the frame after."""
    torch.manual_seed(5)
    towers = ClipTowers(SIZES, linear_patch="3d").double()
    visual = towers.visual
    nn.init.normal_(visual.conv2.weight)
    frames = torch.randn(2, 3, 3, 8, 8).double()
    padded = torch.cat([torch.zeros(2, 1, 3, 8, 8), frames, torch.zeros(2, 1, 3, 8, 8)], 1)
    maps = sum(
        nn.functional.conv2d(
            padded[:, k : k + 3].flatten(0, 1), visual.conv2.weight[:, :, k], stride=4
        )
        for k in range(3)
    )
    tokens = torch.cat(
        [visual.class_embedding.expand(6, 1, -1), maps.flatten(2).transpose(1, 2)], 1
    )
    x = visual.ln_pre(tokens + visual.positional_embedding)
    for block in visual.transformer.resblocks:
        x = naive_block(block, x)
    wanted = (visual.ln_post(x) @ visual.proj)[:, 0].view(2, 3, -1)
    torch.testing.assert_close(towers.encode_video(frames), wanted, rtol=0, atol=1e-11)


def test_vit_b_32_has_the_published_keys_and_types():
    """302 tensors, 195 of them fp16 (specs/clip4clip-clip2video.md 7.1)."""
    with torch.device("meta"):
        towers = ClipTowers(architecture("ViT-B/32"))
    state = towers.state_dict()
    assert len(state) == 302 and sum(map(is_half, state)) == 195
    assert state["visual.positional_embedding"].shape == (50, 768)
    assert state["transformer.resblocks.11.attn.in_proj_weight"].shape == (1536, 512)
    assert state["logit_scale"].shape == ()
    assert not is_half("ln_final.weight") and not is_half("token_embedding.weight")
    assert is_half("clip.visual.proj") and is_half("visual.conv2.weight")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sizes_come_from_tensors(name):
    sizes = architecture(name)
    with torch.device("meta"):
        state = ClipTowers(sizes).state_dict()
    assert Architecture.from_state(state, head_dim=sizes.head_dim) == sizes
    assert Architecture.from_state(state) == sizes  # no shape tells heads, but these are known
    assert Architecture.from_state(state, head_dim=32).head_dim == 32
    assert sizes.head_dim == 64 or name in ("micro", "nano")  # the published ones all have 64


def test_states_without_a_vision_transformer_are_refused():
    with pytest.raises(WeightsError, match="ResNet"):
        Architecture.from_state({"visual.conv1.weight": torch.zeros(2, 3, 4, 4)})
    state = ClipTowers(SIZES).state_dict()
    state.pop("ln_final.weight")
    with pytest.raises(WeightsError, match=r"ln_final\.weight.* is missing"):
        Architecture.from_state(state, head_dim=16)
    with pytest.raises(OptionsError, match="head_dim 64"):
        Architecture.from_state(ClipTowers(SIZES).state_dict())


def test_legacy_halves():
    towers = ClipTowers(SIZES, linear_patch="3d")
    legacy_fp16(towers)
    for name, parameter in towers.named_parameters():
        assert parameter.dtype == (torch.float16 if is_half(name) else torch.float32), name
    assert towers.visual.conv2.weight.dtype == torch.float16
    assert towers.encode_text(captions(2)).dtype == torch.float16
    assert towers.encode_video(torch.zeros(1, 2, 3, 8, 8)).dtype == torch.float16


def test_training_starts_where_clip_started():
    torch.manual_seed(6)
    towers = ClipTowers(architecture("tiny"))
    assert towers.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    for tensor, wanted in (
        (towers.token_embedding.weight, 0.02),
        (towers.positional_embedding, 0.01),
        (towers.text_projection, 128**-0.5),
        (towers.transformer.resblocks[0].attn.out_proj.weight, 128**-0.5 * 8**-0.5),
        (towers.visual.proj, 128**-0.5),
    ):
        assert tensor.std().item() == pytest.approx(wanted, rel=0.1)
