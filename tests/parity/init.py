"""Starting weights: each parameter of a fresh model against what the tables say it starts from."""

import re

import torch

from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.towers import ClipTowers
from reelvec.models.clip.weights import legacy_fp16
from reelvec.models.conversion.weights import export_checkpoint, start
from reelvec.models.registry import build, family_class

SIZES = Architecture(
    embed_dim=32,
    image_size=8,
    vision_layers=1,
    vision_width=32,
    patch_size=4,
    text_width=32,
    text_layers=6,
    vocab_size=96,
    head_dim=16,
)
"""The tables were made from a CLIP of six text layers and one vision layer."""
MIDDLE = "conv1 in the middle of three time slices, zeros elsewhere"


def init_mapping(table):
    """Comparisons of one family's table; each variant's parameters decide the options."""
    family = table["family"]
    archive = clip_archive()
    for variant, entry in table["variants"].items():
        wanted = entry["parameters_outside_clip"]
        models = [fresh(family, variant, wanted, archive, seed) for seed in (1, 2)]
        states = [export_checkpoint(model) for model in models]
        outside = {k for k in states[0] if not k.startswith("clip.") or "conv2" in k}
        yield f"{variant} keys", outside == set(wanted) and len(states[0]) == entry["n_keys"]
        for key, tensor in archive.items():
            yield f"{variant} clip.{key}", same(states[0].get(f"clip.{key}"), tensor)
        for key, source in wanted.items():
            yield f"{variant} {key}", starts_from(source, key, states, archive)


def clip_archive():
    """A random CLIP in OpenAI's layout and types."""
    torch.manual_seed(0)
    towers = ClipTowers(SIZES)
    legacy_fp16(towers)
    return {key: tensor.clone() for key, tensor in towers.state_dict().items()}


def fresh(family, variant, wanted, archive, seed):
    torch.manual_seed(seed)
    options = ORIGINAL_OPTIONS[family](variant, wanted)
    settings = family_class(family).original_settings(options)
    model = build(
        family,
        options=settings.options,
        architecture=SIZES,
        max_words=settings.max_words,
        max_frames=settings.max_frames,
    )
    start(model, archive)
    return model


def present(wanted, choices, otherwise):
    """The first choice whose mark begins a parameter: the parameters are the structure."""
    for mark, choice in choices.items():
        if any(key.startswith(mark) for key in wanted):
            return choice
    return otherwise


def layers(wanted):
    """Blocks of the temporal header; the originals' default where there are none."""
    marks = ("transformerClip.", "cross.transformer.")
    return sum(k.startswith(marks) and k.endswith("ln_1.bias") for k in wanted) or 4


def header_options(_, wanted):
    """CLIP4Clip's and X-CLIP's."""
    headers = {
        "lstm_visual.": "seqLSTM",
        "transformerClip.": "seqTransf",
        "cross.": "tightTransf",
    }
    return {
        "sim_header": present(wanted, headers, "meanP"),
        "linear_patch": present(wanted, {"clip.visual.conv2.": "3d"}, "2d"),
        "cross_num_hidden_layers": layers(wanted),
        "max_words": 10,
        "max_frames": 5,
    }


def clip2video_options(variant, wanted):
    """The name tells TAB from TAB_TDB alone, whose parameters are the same."""
    projections = {"frame2t_projection": "sigmoid_mlp", "frame2t_attention.": "sigmoid_selfA"}
    center = "TAB_TDB" if variant.endswith("TAB_TDB") else "TAB"
    return {
        "sim_type": present(wanted, {"transformerClip.": "seqTransf"}, "meanP"),
        "temporal_type": present(wanted, {"type_position_embeddings.": "TDB"}, ""),
        "temporal_proj": present(wanted, projections, ""),
        "center_type": present(wanted, {"emb_center": "TAB"}, ""),
        "center_proj": present(wanted, {"actionClip.": center}, ""),
        "centerK": 5,
        "center_weight": 0.5,
        "cross_num_hidden_layers": layers(wanted),
        "max_words": 10,
        "max_frames": 6,
    }


def adaclip_options(variant, wanted):
    """The name tells a policy on CLIP's own features alone, which adds no backbone."""
    raw = "clip" if variant.split("_")[0] == "clip" else "raw"
    rnns = {
        "sampler.rnn.weight_ih_l0_reverse": "bilstm",
        "sampler.rnn.": "lstm",
        "sampler.transformer.": "transformer",
    }
    rnn = present(wanted, rnns, None)
    kinds = {
        kind: present(wanted, {f"{kind}_mlp.": "mlp", f"{kind}_proj.": "transformer"}, None)
        for kind in ("frame_agg", "word_agg")
    }
    headers = {"transformerClip.": "seqTransf", "transformer.": "transformer"}
    return kinds | {
        "use_policy": present(wanted, {"sampler.": True}, False),
        "policy_backbone": present(wanted, {"sampler.cnn_model.": "mobilenet_v3_large"}, raw),
        "rescale_size": 5,
        "use_rnn": rnn is not None,
        "rnn": rnn or "transformer",
        "mlp_type": present(wanted, {"sampler.linear.2.": "mlp"}, "fc"),
        "hidden_dim": 16,
        "mlp_hidden_dim": 16,
        "num_frm": 5,
        "top_k": 3,
        "max_txt_len": 9,
        "sim_header": present(wanted, headers, "meanP"),
        "frame_agg_temp": 1.0,
        "word_agg_temp": 1.0,
        "reuse_scores": False,
    }


ORIGINAL_OPTIONS = {
    "clip4clip": header_options,
    "xclip": header_options,
    "clip2video": clip2video_options,
    "adaclip": adaclip_options,
}
"""An original's option values from a variant's name and its parameters."""


def starts_from(source, key, states, archive):
    """Whether a parameter equals the constant or CLIP tensor its table names; random ones vary."""
    tensor, other = states[0].get(key), states[1].get(key)
    if tensor is None:
        return False
    if source.startswith("random"):
        wanted = float(re.search(r"([\d.]+)$", source)[1])
        near = tensor.numel() < 64 or abs(tensor.std().item() / wanted - 1) < 0.4
        return near and not torch.equal(tensor, other)
    constants = {"ones": torch.ones, "zeros": torch.zeros, "identity": lambda s: torch.eye(s[0])}
    if source in constants:
        return same(tensor, constants[source](tensor.shape))
    if source == MIDDLE:
        still = archive["visual.conv1.weight"]
        return same(tensor, torch.stack([still * 0, still, still * 0], dim=2))
    first_rows = re.match(r"first (\d+) rows of clip (.+)", source)
    if first_rows:
        return same(tensor, archive[first_rows[2]][: int(first_rows[1])])
    return same(tensor, archive[source.removeprefix("clip ")])


def same(found, wanted):
    return found is not None and torch.equal(found.float(), wanted.float())
