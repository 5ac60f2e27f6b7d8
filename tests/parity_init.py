"""Starting weights: each parameter of a fresh model against what the tables say it starts from."""

import re

import torch

from models.clip.architecture import Architecture
from models.clip.towers import ClipTowers
from models.clip.weights import legacy_fp16
from models.convert import export_checkpoint, start
from models.registry import build, family_class

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
    """Comparisons of one family's table; `family` and the variants' names decide the options."""
    family = table["family"]
    archive = clip_archive()
    for variant, entry in table["variants"].items():
        wanted = entry["parameters_outside_clip"]
        models = [fresh(family, variant, archive, seed) for seed in (1, 2)]
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


def fresh(family, variant, archive, seed):
    torch.manual_seed(seed)
    settings = family_class(family).original_settings(original_options(family, variant))
    model = build(
        family,
        options=settings.options,
        architecture=SIZES,
        max_words=settings.max_words,
        max_frames=settings.max_frames,
    )
    start(model, archive)
    return model


def original_options(family, variant):
    """An original's option values from the name of a variant."""
    words = variant.split("_")
    if family in ("clip4clip", "xclip"):
        return {
            "sim_header": words[0],
            "linear_patch": words[1] if len(words) > 1 else "2d",
            "cross_num_hidden_layers": 4,
            "max_words": 10,
            "max_frames": 5,
        }
    return clip2video_options(words) if family == "clip2video" else adaclip_options(words)


def clip2video_options(words):
    tdb = words[0] == "TDB"
    tab = [word for word in words if word.startswith("TAB")]
    projections = {"sub": "", "mlp": "sigmoid_mlp", "selfA": "sigmoid_selfA"}
    center = "" if not tab or tab[0] == "TABplain" else "TAB"
    return {
        "sim_type": "seqTransf" if tdb else words[0],
        "temporal_type": "TDB" if tdb else "",
        "temporal_proj": projections[words[1]] if tdb else "",
        "center_type": "TAB" if tab else "",
        "center_proj": "TAB_TDB" if words[-2:] == ["TAB", "TDB"] else center,
        "centerK": 5,
        "center_weight": 0.5,
        "cross_num_hidden_layers": 4,
        "max_words": 10,
        "max_frames": 6,
    }


def adaclip_options(words):
    policy = words[0] if words[0] in ("raw", "clip") or words[0].startswith("mobilenet") else None
    parts = {"_".join(words[:i]): "_".join(words[i:]) for i in range(1, len(words))}
    rnn = next((word for word in words if word in ("lstm", "bilstm", "transformer")), None)
    return {
        "use_policy": policy is not None,
        "policy_backbone": policy or "raw",
        "rescale_size": 5,
        "use_rnn": rnn is not None,
        "rnn": rnn or "transformer",
        "mlp_type": "fc" if words[-1] == "fc" else "mlp",
        "hidden_dim": 16,
        "mlp_hidden_dim": 16,
        "num_frm": 5,
        "top_k": 3,
        "max_txt_len": 9,
        "sim_header": parts.get("header", "meanP"),
        "frame_agg": parts.get("frame_agg"),
        "frame_agg_temp": 1.0,
        "word_agg": parts.get("word_agg"),
        "word_agg_temp": 1.0,
        "reuse_scores": False,
    }


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
