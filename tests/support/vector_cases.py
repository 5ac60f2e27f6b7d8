"""Small fixed inputs through everything that decides a vector, and what comes out, as plain JSON.

Weights are drawn from their names by NumPy and models run in float64, so the numbers are the same
on every machine. `CASES` has a function a case; each gives label -> value, where a tensor is given
by its shape and three sums (`sums_of`). tests/test_vectors.py holds them against
tests/resources/vectors/vectors.json.
"""

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[1] / "resources" / "vectors" / "vectors.json"
RELATIVE = 1e-6
"""Of a tensor's length: what may differ in its sums, by rounding."""


# what is compared


def noise(name, shape):
    """Numbers in [-1, 1) that follow from a name, on every machine the same."""
    return np.random.RandomState(zlib.crc32(name.encode())).uniform(-1, 1, shape)


def sums_of(tensor, *, relative=RELATIVE):
    """A tensor as [shape, [its length, two sums of its numbers with factors, what may differ]]."""
    x = np.asarray(tensor.detach() if hasattr(tensor, "detach") else tensor, np.float64).ravel()
    factors = noise("factors", (2, x.size))
    sums = [float(f"{v:.9g}") for v in (np.sqrt(x @ x), *(factors @ x))]
    return [list(tensor.shape), [*sums, relative]]


def agrees(found, expected):
    """Whether a value is the golden one; sums may differ by rounding."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(agrees(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return False
        if len(expected) == 4 and all(isinstance(value, float) for value in expected):
            room = expected[3] * expected[0]
            return all(near(f, e, room) for f, e in zip(found[:3], expected[:3], strict=True))
        return all(agrees(f, e) for f, e in zip(found, expected, strict=True))
    return found == expected


def near(found, expected, room):
    return abs(found - expected) <= room or (np.isnan(found) and np.isnan(expected))


# inputs


def pictures(*shape, name="pictures"):
    """uint8 [..., H, W, 3], every pixel another."""
    return ((noise(name, (*shape, 3)) + 1) * 127.99).astype(np.uint8)


def drawn(model, *, spread=1.0):
    """`model` in float64 and evaluation mode, its tensors drawn from their names."""
    model = model.double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            x = torch.from_numpy(np.asarray(noise(name, tuple(tensor.shape))))
            fan = tensor[0].numel() if tensor.ndim > 1 else 1
            if name.endswith("running_var"):
                x = x.abs() + 0.5
            elif name.endswith("_weight") and tensor.ndim == 2 and len(tensor) == tensor.shape[1]:
                x = torch.eye(len(tensor)) + 0.2 * x  # X-CLIP's matrices
            elif tensor.ndim == 1 and name.endswith("weight"):
                x = 1 + 0.2 * x
            elif tensor.ndim == 0:
                x = x + 2
            tensor.copy_(x * spread * (1.7 / fan**0.5 if tensor.ndim > 1 else 1))
    return model


END = 199


def sizes(**changes):
    from reelvec.models.clip.architecture import Architecture

    given = {
        "embed_dim": 16,
        "image_size": 16,
        "vision_layers": 2,
        "vision_width": 16,
        "patch_size": 8,
        "text_width": 16,
        "text_layers": 2,
        "context_length": 20,
        "vocab_size": END + 1,
        "head_dim": 4,
    }
    return Architecture(**given | changes)


WORDS, FRAMES = 7, 5


def tokens():
    """Captions [4, 7] of several lengths; the second spells an end token inside."""
    rows = torch.zeros(4, WORDS, dtype=torch.int64)
    for row, words in enumerate(([3, 9, 4, 7], [5, END, 8], [6], [2, 11, 3, 8, 4])):
        ids = [END - 1, *words, END]
        rows[row, : len(ids)] = torch.tensor(ids[:WORDS])
    return rows


def clips():
    """Frames [4, 5, 16, 16, 3] and their mask [4, 5]: whole, short, one frame, none at the end."""
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 0]])
    return torch.from_numpy(pictures(4, FRAMES, 16, 16, name="clips")), mask


def of_model(model):
    """Columns, features of both sides, vectors and scores of a family."""
    text = model.encode_text(tokens())
    given = model.prepare(*clips())
    given = {name: x.double() if x.is_floating_point() else x for name, x in given.items()}
    video = model.encode_video(**given)
    found = {f"text {name}": sums_of(text[name]) for name in text}
    for name in video:
        x = video[name]
        if name == "frames" and x.shape[1] == FRAMES:  # past a video's end they mean nothing
            x = x * clips()[1][..., None]
        found[f"video {name}"] = sums_of(x) if x.is_floating_point() else x.tolist()
    for side, columns in (("text", model.text_columns), ("video", model.video_columns)):
        found[f"{side} columns"] = {n: [list(c.shape), c.kind] for n, c in columns.items()}
    found["scores"] = sums_of(model.similarity(text.index(slice(1, 4)), video))
    found["terms"] = [[w, *sums_of(x)] for w, x in model.score_terms(text, video)]
    if model.is_dot_product:
        found["text vectors"] = sums_of(model.text_vectors(text))
        found["video vectors"] = sums_of(model.video_vectors(video))
    return found


def family(name, **options):
    from reelvec.models.registry import build

    torch.manual_seed(0)
    changes = options.pop("sizes", {})
    model = build(
        name,
        options=options,
        architecture=sizes(**changes),
        max_words=WORDS,
        max_frames=FRAMES,
    )
    with torch.inference_mode():
        return of_model(drawn(model))


# cases


def sampling():
    """Indices every rule gives on several timelines."""
    from reelvec.models.sampling.rules import (
        LIMITS,
        POLICIES,
        Rule,
        Timeline,
        choose,
        limit,
        pick_stored,
    )

    at = np.arange
    timelines = {
        "25 fps": {"pts_seconds": at(130) / 25, "fps": 25.0, "frames_from_header": 131},
        "NTSC": {"pts_seconds": at(100) * 1001 / 30000, "fps": 30000 / 1001},
        "uneven": {"pts_seconds": np.r_[at(10) / 25, 0.4 + at(9) / 3], "fps": 5.0},
        "milliseconds": {"pts_seconds": np.round(at(75) / 24, 3) + 4e-4, "fps": 24.0},
        "half a millisecond": {"pts_seconds": np.r_[0, at(1, 9) / 4 + 5e-4], "fps": 4.0},
        "no rate": {"pts_seconds": at(30) / 12.5, "fps": 0.0},
        "two": {"pts_seconds": np.array([0.0, 0.04]), "fps": 25.0},
        "one": {"pts_seconds": np.array([0.0]), "fps": 0.0},
        "none": {"pts_seconds": np.zeros(0), "fps": 25.0},
    }
    windows = ((None, None), (1.0, 3.0), (None, 2.2), (0.64, None), (1.1996, 1.2004))
    rules = [{"rate": 1.0, "count": 4}, {"rate": 3.0, "count": 9, "max_frames": 3}]
    rules += [{"rate": 2.0, "count": 3, "max_frames": 2, "limit": "tail", "seed": 3}]
    found = {}
    for policy in POLICIES:
        if policy == "keyframes":
            continue  # younger than these vectors: tests/models/sampling/test_windows.py
        for name, given in timelines.items():
            for number, rule in enumerate(rules):
                picked = []
                for start, end in windows:
                    timeline = Timeline(**given, start_seconds=start, end_seconds=end)
                    try:
                        indices = choose(Rule(policy=policy, **rule), timeline=timeline)
                        picked.append(" ".join(map(str, indices)))
                    except ValueError:
                        picked.append("refused")
                found[f"{policy} {number} on {name}"] = " | ".join(picked)
    for how in LIMITS:
        found[f"{how} of stored"] = [pick_stored(n, 3, how).tolist() for n in (0, 2, 3, 4, 7, 12)]
        found[f"{how} of some"] = limit(at(20, 60, 4), 4, how).tolist()
    found["defaults"] = dataclasses.asdict(Rule())
    for rate in (0.1, 0.3, 25.0):
        timeline = Timeline(pts_seconds=at(100) / 10, fps=10.0)
        found[f"per_second {rate}"] = choose(Rule(rate=rate), timeline=timeline).tolist()
    return found


def originals():
    """The four systems' own rules, beyond what policies reach."""
    from reelvec.models.sampling import originals as rules

    found = {}
    for count in (0, 1, 2, 5, 12, 50, 61, 143):
        for rate, most in ((1, 3), (2, 12), (5, 4)):
            picks = rules.clip2video_two_stage(count, framerate=rate, max_frames=most)
            found[f"two stage {count} {rate} {most}"] = picks.tolist()
            moved = rules.clip2video_jitter(picks, random=np.random.RandomState(7))
            found[f"jitter {count} {rate} {most}"] = moved.tolist()
        for many in (1, 4, 16):
            uniform = rules.adaclip_uniform(count, count=many)
            found[f"uniform {count} {many}"] = uniform.tolist()
            found[f"segment {count} {many}"] = rules.adaclip_segment(count, count=many).tolist()
            found[f"subset {count} {many}"] = rules.adaclip_subset(uniform, size=3).tolist()
    for size in (3, 5, 8):
        gaps = {gap: np.arange(size) * gap for gap in (1, 4, 5, 6, 7, 12)}
        for gap, indices in gaps.items():
            moved = rules.clip2video_jitter(indices, random=np.random.RandomState(1))
            found[f"jitter of {size} with gap {gap}"] = moved.tolist()
    for fps, rate, window in (
        (25.0, 1, None), (29.97, 1, None), (25.0, 3, None), (10.0, 0, None), (25.0, 1, (1, 3)),
        (25.0, 2, (0, 99)), (1.5, 1, None),
    ):  # fmt: skip
        for frames, readable in ((76, 76), (75, 70), (100, 120)):
            picks = rules.clip4clip_cv2(
                frames, fps=fps, readable=readable, rate=rate, window=window
            )
            found[f"cv2 {fps} {rate} {window} {frames} {readable}"] = picks.tolist()
    return found


def transform():
    """Sizes, crops and pixels of the stored square."""
    from reelvec.storage.video.orientation import Orientation
    from reelvec.storage.video.transform import fit, resized_size

    shapes = ((120, 160), (160, 120), (64, 64), (33, 57), (57, 33), (101, 40), (48, 96), (49, 95))
    found = {}
    for height, width in shapes:
        for size in (16, 33, 48):
            found[f"size {height} x {width} to {size}"] = list(
                resized_size(height, width, size=size)
            )
            for how in ("torch", "pillow"):
                out = np.zeros((size, size, 3), np.uint8)
                smooth = np.add.outer(np.arange(height) * 2, np.arange(width))[..., None]
                picture = (smooth + np.array([0, 40, 80])) % 251
                fit(picture.astype(np.uint8), size=size, out=out, how=how)
                found[f"{how} {height} x {width} to {size}"] = sums_of(out, relative=1e-3)
    picture = pictures(4, 6, name="turned")
    for degrees in (0, 90, -90, 180, 270, 360, 450, 89.9):
        turned = Orientation(turns=round(degrees / 90) % 4).show(picture)
        found[f"turned {degrees}"] = turned[0, :2].tolist()
    return found


def preprocess():
    """Pixels as towers take them."""
    from reelvec.models.adaclip.mobilenet import IMAGENET_MEAN, IMAGENET_STD
    from reelvec.models.adaclip.policy import grey_frames
    from reelvec.models.clip.preprocess import normalise

    frames, mask = clips()
    plain = normalise(frames, mask)
    found = {"clip": plain}
    found["imagenet"] = normalise(frames, mask, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    found["whole"] = normalise(frames[:1], mask[:1])
    smooth = torch.arange(4 * FRAMES * 768).view(4, FRAMES, 16, 16, 3) // 11 % 256
    found["grey"] = grey_frames(smooth.to(torch.uint8), size=6)
    bits = zlib.crc32(plain.numpy().tobytes())  # a product and a sum: exact on every machine
    return {name: sums_of(x) for name, x in found.items()} | {"bits": bits}


def blocks():
    """The attention block with and without masks, and layer norms of tiny numbers."""
    from reelvec.models.clip.blocks import (
        CLIP_EPS,
        HEADER_EPS,
        LayerNorm,
        Places,
        Transformer,
        quick_gelu,
    )

    x = torch.from_numpy(noise("tokens", (3, 5, 16)))
    mask = torch.from_numpy(noise("mask", (3, 1, 1, 5))) * 3
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], dtype=torch.bool)
    stack = drawn(Transformer(16, layers=2, heads=4))
    found = {}
    with torch.inference_mode():
        for name, given in (
            ("plain", {}),
            ("masked", {"mask": mask}),
            ("causal", {"causal": True}),
            ("first", {"first_only": True}),
            ("first masked", {"first_only": True, "mask": mask}),
        ):
            found[name] = sums_of(stack(x, **given))
        hidden = (~real)[:, None, None, :] * -1e6
        found["real"] = sums_of(stack.of_real(x, real, mask=hidden) * real[..., None])
        found["all real"] = sums_of(stack.of_real(x, torch.ones_like(real), mask=mask))
        found["none real"] = sums_of(stack.of_real(x, torch.zeros_like(real), mask=mask))
        places = Places(real)
        found["packed"] = sums_of(places.pack(x))
        found["spread"] = sums_of(places.spread(places.pack(x)))
        found["gelu"] = sums_of(quick_gelu(x * 3))
        for eps, scale in ((CLIP_EPS, 3e-3), (HEADER_EPS, 1e-6)):
            norm = drawn(LayerNorm(16, eps=eps))
            found[f"tiny numbers, {scale}"] = sums_of(norm(x * scale))
            found[f"stack of tiny, {scale}"] = sums_of(
                drawn(Transformer(16, layers=1, heads=2, eps=eps))(x * scale)
            )
        for module in (LayerNorm(16).half(), LayerNorm(16)):
            found[f"half {module.weight.dtype}"] = str(module(x.half()).dtype)
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        quick_gelu(leaf * 3).square().sum().backward()
        found["gelu in training"] = [sums_of(quick_gelu(x * 3)), sums_of(leaf.grad)]
        stack.activation_checkpointing = True
        found["checkpointed"] = sums_of(stack(x))
    return found


def towers():
    """CLIP's two towers, 2d and 3d patches, other sizes."""
    from reelvec.models.clip.towers import ClipTowers

    found = {}
    frames = torch.from_numpy(noise("frames", (2, 4, 3, 16, 16)))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    padded = frames * mask[..., None, None, None]
    other = sizes(vision_width=24, vision_layers=1, text_width=8)
    for patch in ("2d", "3d"):
        model = drawn(ClipTowers(other, linear_patch=patch))
        with torch.inference_mode():
            found[f"frames {patch}"] = sums_of(model.encode_video(frames))
            found[f"words {patch}"] = sums_of(model.encode_text(tokens()))
            found[f"scale {patch}"] = sums_of(model.logit_scale)
            found |= {
                f"real {patch}, padding kept {keep}": sums_of(
                    model.encode_real(padded, mask, keep_padding=keep)
                )
                for keep in (False, True)
            }
    return found


def starts():
    """Random starts by seed, and headers started from CLIP tensors."""
    from reelvec.models.clip.towers import ClipTowers
    from reelvec.models.registry import build

    torch.manual_seed(5)
    clip = ClipTowers(sizes(text_layers=6)).state_dict()
    found = {f"clip {name}": sums_of(x) for name, x in clip.items()}
    for name, options in (
        ("clip4clip", {"sim_header": "seqTransf", "linear_patch": "3d"}),
        ("clip4clip", {"sim_header": "seqTransf", "frame_position_std": 0.1}),
        ("clip4clip", {"sim_header": "seqLSTM"}),
        ("clip4clip", {"sim_header": "tightTransf", "cross_num_hidden_layers": 2}),
        ("clip2video", {}),
        ("clip2video", {"temporal_proj": "sigmoid_mlp"}),
        ("xclip", {}),
        ("xclip", {"sim_header": "tightTransf", "cross_num_hidden_layers": 1}),
        ("clip2video", {"temporal_type": "", "temporal_proj": "", "center_proj": "TAB"}),
        ("adaclip", {"frame_agg": "mlp", "word_agg": "mlp"}),
        ("frozen", {}),
        ("adaclip", {"policy": "raw", "top_k": 3, "hidden_dim": 8, "sim_header": "transformer"}),
        ("adaclip", {"sim_header": "seqTransf", "frame_agg": "transformer"}),
        ("xpool", {}),
        ("drl", {"wti_arch": 3}),
        ("drl", {"wti_arch": 1, "interaction": "wti"}),
        ("ts2net", {"shift_layers": [0], "n_div": 2}),
        ("ucofia", {"shift_layers": [1], "n_div": 2, "code": "eval_t2v"}),
        ("teachclip", {}),
    ):
        torch.manual_seed(6)
        model = build(
            name,
            options=options,
            architecture=sizes(text_layers=6),
            max_words=WORDS,
            max_frames=FRAMES,
        )
        label = " ".join([name, *map(str, options.values())])
        frozen = [k for k, x in model.named_parameters() if not x.requires_grad]
        found[f"{label} never trained"] = [model.trainable, frozen]
        own = {k: x for k, x in model.state_dict().items() if not k.startswith("clip.")}
        found |= {f"{label} {key} by seed": sums_of(x) for key, x in own.items()}
        model.init_from_clip(clip)
        started = {k: x for k, x in model.state_dict().items() if not k.startswith("clip.")}
        found |= {f"{label} {key} from CLIP": sums_of(x) for key, x in started.items()}
        if "linear_patch" in options:
            conv2 = model.state_dict()["clip.visual.conv2.weight"]
            found[f"{label} conv2 from CLIP"] = sums_of(conv2)
    return found


def headers():
    """CLIP4Clip's eight variants."""
    found = {}
    for header in ("meanP", "seqLSTM", "seqTransf", "tightTransf"):
        for patch in ("2d", "3d"):
            options = {"sim_header": header, "linear_patch": patch, "cross_num_hidden_layers": 2}
            found[f"{header} {patch}"] = family("clip4clip", **options)
    return found


def masks():
    """Masks and pooling on their own."""
    from reelvec.models.temporal import key_mask, pool, unit

    _, mask = clips()
    x = torch.from_numpy(noise("pooled", (4, FRAMES, 16)))
    found = {"pool": sums_of(pool(x, mask)), "unit": sums_of(unit(x))}
    found["none"] = sums_of(pool(x, torch.zeros_like(mask)))
    for layout in ("fixed", "legacy"):
        added = key_mask(mask, heads=3, dtype=torch.float64, layout=layout)
        found[layout] = sums_of(added)
    found["zero"] = bool(torch.isnan(unit(torch.zeros(3))).all())
    return found


def clip2video():
    """Its published variant and the others."""
    variants = (
        {},
        {"mask_layout": "legacy"},
        {"temporal_proj": "sigmoid_mlp"},
        {"temporal_proj": ""},
        {"center_proj": "TAB"},
        {"center_proj": "", "centerK": 3, "center_weight": 0.3},
        {"center_type": "", "center_proj": ""},
        {"temporal_type": "", "temporal_proj": "", "center_proj": "TAB"},
        {"sim_type": "meanP", "temporal_type": "", "center_proj": ""},
    )
    return {
        str(options): family("clip2video", cross_num_hidden_layers=2, **options)
        for options in variants
    }


def xclip():
    """Columns and scores of X-CLIP, in one piece and in blocks."""
    headers = ("meanP", "seqLSTM", "seqTransf", "tightTransf")
    return {
        header: family("xclip", sim_header=header, cross_num_hidden_layers=2) for header in headers
    }


def heads():
    """Columns and scores of the heads papers compare with, and the released forms."""
    of_heads_of_64 = dict.fromkeys(("embed_dim", "vision_width", "text_width", "head_dim"), 64)
    tokens = {"shift_layers": [0], "n_div": 2, "cross_num_hidden_layers": 1, "num_samples": 9}
    variants = (
        ("xpool", {}),
        ("xpool", {"num_mha_heads": 2, "short_videos": "repeat"}),
        ("xpool_baseline", {"pooling": "avg"}),
        ("xpool_baseline", {"pooling": "topk", "top_k": 2, "short_videos": "repeat"}),
        ("xpool_baseline", {"pooling": "attention"}),
        ("drl", {"interaction": "dp", "cross_num_hidden_layers": 1}),
        ("drl", {"interaction": "ti", "sim_header": "meanP"}),
        ("drl", {"interaction": "wti", "wti_arch": 3, "sim_header": "seqLSTM"}),
        ("drl", {"pair_mask": "legacy", "cross_num_hidden_layers": 1}),
        ("drl", {"interaction": "xti", "cross_num_hidden_layers": 1}),
        ("drl", {"interaction": "xti", "cross_num_hidden_layers": 1, "sizes": of_heads_of_64}),
        ("ts2net", tokens),
        ("ts2net", tokens | {"mask_layout": "legacy", "selection": "hard"}),
        ("ts2net", tokens | {"topk": 2, "n_div": 1, "shift_layers": [0, 1], "sigma": 0.2}),
        ("ucofia", tokens),
        ("ucofia", tokens | {"code": "eval_t2v"}),
        ("teachclip", {"cross_num_hidden_layers": 1}),
        ("teachclip", {"cross_num_hidden_layers": 1, "weight_mask": "legacy"}),
        ("teachclip", {"sim_header": "seqLSTM", "frame_temperature": 0.3}),
    )
    return {f"{name} {options}": family(name, **options) for name, options in variants}


def heads_in_training():
    """What the heads compute in training alone: terms, losses beside them, weights, gradients."""
    from reelvec.models.drl.decorrelation import correlation

    tokens = {"shift_layers": [0], "n_div": 2, "cross_num_hidden_layers": 1, "num_samples": 9}
    teachclip = {"cross_num_hidden_layers": 1}
    drl = {"sim_header": "meanP", "cdcr_lambda": 0.1, "cdcr_alpha1": 0.7, "cdcr_alpha2": 0.2}
    variants = (
        ("xpool", {}),
        ("xpool", {"num_mha_heads": 2, "short_videos": "repeat", "transformer_dropout": 0.0}),
        ("xpool_baseline", {"pooling": "topk"}),
        ("xpool_baseline", {"pooling": "attention", "short_videos": "repeat"}),
        ("drl", drl | {"interaction": "dp", "cdcr": 1}),
        ("drl", drl | {"cdcr": 1}),
        ("drl", drl | {"interaction": "ti", "cdcr": 2, "cdcr_guard": "legacy"}),
        ("drl", drl | {"cdcr": 3, "wti_arch": 1}),
        ("drl", drl | {"cdcr": 3, "pair_mask": "legacy", "sim_header": "seqTransf"}),
        ("drl", {"interaction": "xti", "cross_num_hidden_layers": 1}),
        ("ts2net", tokens),
        ("ts2net", tokens | {"sim_header": "seqLSTM", "selection": "hard"}),
        ("ucofia", tokens),
        ("teachclip", teachclip),
        ("teachclip", teachclip | {"weight_mask": "legacy", "frame_temperature": 0.3}),
        ("teachclip", {"sim_header": "meanP"}),
    )
    found = {f"{name} {options}": head_step(name, **options) for name, options in variants}
    left, right = (torch.from_numpy(noise(side, (6, 3))) for side in ("left", "right"))
    left[:, 0] = 1 + 1e-8 * left[:, 0]  # a channel that says next to nothing
    return found | {"guarded": sums_of(correlation(left, right, guard=True, total=6))}


def head_step(name, **options):
    """One training step's numbers of a family, its noise that of a step."""
    from reelvec.models.noise import StepNoise
    from reelvec.models.registry import build

    torch.manual_seed(0)
    model = build(name, options=options, architecture=sizes(), max_words=WORDS, max_frames=FRAMES)
    model = drawn(model).train()
    step, rows = StepNoise(5, 7), torch.arange(4)
    given = model.prepare(*clips())
    given = {name: x.double() if x.is_floating_point() else x for name, x in given.items()}
    text = model.encode_text(tokens())
    video = model.encode_video(**given, **model.video_noise(step.of_rows(rows)))
    terms = model.training_terms(text, video, noise=step.of_pairs(rows, rows))
    beside = model.batch_loss(text, video, noise=step.of_rows(rows))
    weights = model.pair_frame_weights(text, video)
    found = {"terms": [[w, *sums_of(x)] for w, x in terms]}
    loss = sum(w * (x * torch.from_numpy(noise("loss", tuple(x.shape)))).sum() for w, x in terms)
    if beside is not None:
        found["beside"] = sums_of(beside)
        loss = loss + beside
    if weights is not None:
        found["weights"] = sums_of(weights)
    loss.backward()
    moved = {key: x.grad for key, x in model.named_parameters() if x.grad is not None}
    parts = {key.split(".")[0] for key in moved}
    for part in sorted(parts):
        own = [x.flatten() for key, x in sorted(moved.items()) if key.split(".")[0] == part]
        found[f"gradient {part}"] = sums_of(torch.cat(own))
    found["rates"] = dict(model.rate_factors)
    found["draws"] = model.options.draws_noise
    for side, columns in (
        ("text", model.backbone_text_columns),
        ("video", model.backbone_video_columns),
    ):
        found[f"kept {side}"] = {n: [list(c.shape), c.kind] for n, c in columns.items()}
    return found


def xclip_scores():
    """Its scores with and without gradients, few and many texts, larger than a block."""
    from reelvec.models.temporal import unit
    from reelvec.models.xclip import similarity

    def side(name, *shape):
        return unit(torch.from_numpy(noise(name, shape)))

    words, frames, width = 6, 5, 8
    names = {field.name: width for field in dataclasses.fields(similarity.Matrices)}
    for name in names:
        names[name] = {"w": words, "f": frames}.get(name[0], width)
    matrices = similarity.Matrices(
        **{
            name: torch.eye(size, dtype=torch.float64)
            + 0.3 * torch.from_numpy(noise(name, (size, size)))
            for name, size in names.items()
        }
    )
    found = {}
    for texts, videos in ((1, 9), (2, 3), (3, 4), (7, 90), (140, 70)):
        sides = similarity.Sides(
            side("s", texts, width),
            side("w", texts, words, width),
            side("v", videos, width),
            side("f", videos, frames, width),
        )
        found[f"{texts} x {videos} fast"] = sums_of(similarity.fast_scores(sides, matrices))
        found[f"{texts} x {videos} plain"] = sums_of(similarity.plain_scores(sides, matrices))
        apart = sides._replace(frames=-sides.frames.abs(), words=sides.words.abs())
        found[f"{texts} x {videos} apart"] = sums_of(similarity.fast_scores(apart, matrices))
        # no pair points away from the other, so that the shared exponential is what scores
        near = sides._replace(frames=unit(sides.frames + 0.5), words=unit(sides.words + 0.5))
        found[f"{texts} x {videos} near"] = sums_of(similarity.fast_scores(near, matrices))
    return found


def adaclip():
    """Policies, headers and weighings."""
    raw = {"policy": "raw", "top_k": 2, "rescale_size": 6, "hidden_dim": 8, "mlp_hidden_dim": 6}
    variants = (
        {},
        {"frame_agg": "mlp", "frame_agg_temp": 0.7},
        {"frame_agg": "transformer"},
        {"frame_agg": "qscore", "frame_agg_temp": 0.1},
        {"word_agg": "mlp", "word_agg_temp": 0.6},
        {"word_agg": "transformer"},
        {"word_agg": "transformer", "mask_layout": "legacy"},
        {"sim_header": "seqTransf"},
        {"sim_header": "transformer"},
        raw,
        {**raw, "rnn": "lstm", "mlp_type": "fc"},
        {**raw, "rnn": "bilstm", "reuse_scores": True, "frame_agg_temp": 0.4},
        {**raw, "rnn": "none", "top_k": 4, "sim_header": "transformer"},
        {**raw, "frame_agg": "qscore"},
        {**raw, "policy": "clip", "reuse_scores": True, "word_agg": "mlp"},
        {**raw, "policy": "mobilenet_v3_large", "rnn": "none", "mlp_type": "fc"},
    )
    return {str(options): family("adaclip", **options) for options in variants}


def training():
    """What AdaCLIP's policy does in training alone: relaxed choices, noise, schedules."""
    from reelvec.models.adaclip import policy

    scores = torch.from_numpy(noise("scores", (3, 6))) * 2
    gumbel = torch.from_numpy(noise("gumbel", (3, 6)))
    found = {}
    for k, temperature in ((1, 1.0), (3, 0.7), (6, 5.0)):
        selection, index = policy.hard_top_k(scores, k=k, temperature=temperature, noise=gumbel)
        found[f"chosen {k}"] = [index.tolist(), sums_of(selection)]
        leaf = scores.clone().requires_grad_()
        chosen, _ = policy.hard_top_k(leaf, k=k, temperature=temperature, noise=gumbel)
        (chosen * torch.from_numpy(noise("c", tuple(chosen.shape)))).sum().backward()
        found[f"gradient {k}"] = sums_of(leaf.grad)
    drawn_noise = policy.gumbel_noise(scores, generator=torch.Generator().manual_seed(4))
    found["noise"] = sums_of(drawn_noise)
    falls = {"initial": 5.0, "decay": 0.045, "least": 0.5}
    found["temperatures"] = [policy.temperature(e, **falls) for e in (0, 1, 20, 51, 52, 90)]
    found["kept"] = [
        policy.annealed_k(epoch, n_frames=12, top_k=3, warmup_epochs=warmup)
        for warmup in (0, 4)
        for epoch in (0, 1, 3, 4, 9)
    ]
    found["best"] = policy.best_frames(scores, k=2).tolist()
    raw = {"policy": "raw", "top_k": 2, "rescale_size": 6, "hidden_dim": 8, "mlp_hidden_dim": 6}
    for options in (
        raw | {"warmup_epochs": 5},
        raw | {"policy": "clip", "reuse_scores": True},
        raw | {"policy": "mobilenet_v3_large", "freeze_cnn": True, "rnn": "none"},
        raw | {"policy": "mobilenet_v3_large", "freeze_cnn": True, "batch_norm": "legacy"},
    ):
        for epoch in (0, 3):
            found[f"{options} epoch {epoch}"] = trained_once(options, epoch)
    return found


def trained_once(options, epoch):
    """Features in training mode with given noise, with drawn noise, and what is never trained."""
    from reelvec.models.registry import build

    torch.manual_seed(2)
    model = build(
        "adaclip",
        options=options,
        architecture=sizes(),
        max_words=WORDS,
        max_frames=FRAMES,
    )
    model = drawn(model).train()
    model.start_epoch(epoch)
    given = model.prepare(*clips())
    given = {name: x.double() if x.is_floating_point() else x for name, x in given.items()}
    fixed = torch.from_numpy(noise("gumbel", (4, FRAMES)))
    found = {}
    for name, more in (("given", {"noise": fixed}), ("drawn", {})):
        model.generator = torch.Generator().manual_seed(8)
        video = model.encode_video(**given, **more)
        found[name] = [sums_of(video["embedding"]), video["selected"].tolist()]
    cnn = model.sampler.cnn_model
    found["frozen"] = sum(not p.requires_grad for p in model.parameters())
    found["statistics"] = cnn is not None and cnn.training
    return found


def mobilenet():
    """MobileNetV3-Large on larger pictures."""
    from reelvec.models.adaclip.mobilenet import MobileNetV3Large

    torch.manual_seed(0)
    model = drawn(MobileNetV3Large())
    images = torch.from_numpy(noise("images", (2, 3, 40, 40)))
    with torch.inference_mode():
        found, x = {}, images
        for number, layer in enumerate(model.features):
            x = layer(x)
            found[f"layer {number}"] = sums_of(x)
        found["features"] = sums_of(model(images))
    return found


def other_colours():
    """Frames as a model takes them whose mean and deviation are not CLIP's."""
    from reelvec.models.registry import build

    model = build("frozen", options={}, architecture=sizes(), max_words=WORDS, max_frames=FRAMES)
    model.mean, model.std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    return {name: sums_of(x) for name, x in model.prepare(*clips()).items()}


def frozen():
    """A CLIP as it is, and Perception Encoder's towers."""
    from reelvec.models.frozen.perception_towers import ImageSizes, PerceptionTowers, TextSizes

    found = {"frozen": family("frozen"), "other colours": other_colours()}
    text = TextSizes(width=16, layers=1, heads=2, context_length=WORDS, vocab_size=END + 1)
    pixels = torch.from_numpy(noise("pixels", (3, 3, 16, 16)))
    for has_class, rotary in ((True, 4), (False, 6)):
        image = ImageSizes(
            width=32, layers=2, heads=4, hidden=24, patch_size=4, grid=4, rotary_grid=rotary,
            class_token=has_class,
        )  # fmt: skip
        torch.manual_seed(0)
        model = drawn(PerceptionTowers(image, text, embed_dim=10))
        label = "with" if has_class else "without"
        with torch.inference_mode():
            found[f"frames {label} class token"] = sums_of(model.encode_frames(pixels))
            found[f"texts {label} class token"] = sums_of(model.encode_text(tokens()))
            tiny = model.visual["trunk"].norm(torch.from_numpy(noise("t", (2, 32))) * 3e-3)
            found[f"tiny {label} class token"] = sums_of(tiny)
    return found


CAPTIONS = (
    "a man is playing a guitar",
    "  A  Man,\tis (NOT) playing...  the \n guitar!! ",
    "it's 2024 & they're &amp;amp; caf\u00e9s na\u00efve \u2019s",
    "<|endoftext|> inside",
    "it'\u017f a test",
    "",
    "\u65e5\u672c\u8a9e \U0001f600 ok",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
    "&lt;b&gt; schoen &quot;x&quot; \u201cquoted\u201d \ufb01sh",
)


def tokenizer():
    """Token ids."""
    from reelvec.models.clip.tokenizer import END as last
    from reelvec.models.clip.tokenizer import START as first
    from reelvec.models.clip.tokenizer import clean, encode, tokenize

    found = {"ends": [first, last], "rows": tokenize(CAPTIONS, max_words=12).tolist()}
    shortest = tokenize(CAPTIONS[:2], max_words=3)
    found["shortest"] = [str(shortest.dtype), shortest.tolist()]
    for text in CAPTIONS:
        found[f"clean {text!r}"] = clean(text)
        found[f"ids {text!r}"] = encode(text)
    return found


def features():
    """Feature tensors to table columns and back."""
    from reelvec.models.features import Column, TextFeatures, VideoFeatures

    x = torch.from_numpy(noise("features", (4, 3, 2)))
    video = VideoFeatures({"frames": x, "mask": torch.arange(12).view(4, 3)})
    columns = {"frames": Column((3, 2)), "mask": Column((3,), kind="integer")}
    flat = video.columns()
    half = video.to(dtype=torch.float16)
    return {
        "sizes": [column.size for column in columns.values()],
        "columns": {name: sums_of(value) for name, value in flat.items()},
        "types": {name: str(half[name].dtype) for name in half},
        "back": {
            name: sums_of(value)
            for name, value in VideoFeatures.from_columns(flat, columns=columns).tensors.items()
        },
        "rows": sums_of(video.index([2, 0])["frames"]),
        "no rows": list(video.index([])["frames"].shape),
        "joined": sums_of(VideoFeatures.cat([video, video.index(slice(1, 3))])["frames"]),
        "length": [len(video), len(TextFeatures({"a": x[:1]}))],
    }


class StoredFrames:
    """Stands for a FrameReader: clips of 1 to 9 frames in memory."""

    def __init__(self, side, shapes=(9, 2, 5, 1, 7)):
        self.clips = {f"k{n}": pictures(n, side, side, name=f"clip {n}") for n in shapes}

    def lengths(self, keys):
        return np.array([len(self.clips[key]) for key in keys], np.int64)

    def gather(self, keys, *, picks, out):
        for row, (key, pick) in enumerate(zip(keys, picks, strict=True)):
            out[row, : len(pick)] = self.clips[key][pick]
            out[row, len(pick) :] = 0


def encoding():
    """Table columns of clips and captions, in batches."""
    from reelvec.configs.schema import EmbedConfig, ModelConfig
    from reelvec.models.registry import build
    from reelvec.tasks.embedding import encoder as opened
    from reelvec.tasks.embedding import encoding as code

    found = {}
    torch.set_num_threads(2)
    reader = StoredFrames(16)
    texts = list(CAPTIONS) * 3
    for name, options, selection, dtype, batch in (
        ("clip4clip", {"sim_header": "seqTransf", "cross_num_hidden_layers": 1}, "linspace",
         "float32", 2),
        ("clip4clip", {"sim_header": "tightTransf"}, "head", "float16", 1),
        ("clip2video", {"cross_num_hidden_layers": 1, "mask_layout": "legacy"}, "tail",
         "float32", 3),
        ("adaclip", {"frame_agg": "qscore"}, "linspace", "float32", 16),
    ):  # fmt: skip
        torch.manual_seed(0)
        config = ModelConfig(
            family=name, options=options, max_words=WORDS, max_frames=4, frame_selection=selection
        )
        model = build(
            name,
            options=options,
            architecture=sizes(vocab_size=49408),
            max_words=WORDS,
            max_frames=4,
        )
        encoder = opened.Encoder(drawn(model).float(), config, torch.device("cpu"))
        embed = EmbedConfig(dtype=dtype, batch_size=batch)
        label = f"{name} {selection} {dtype} {batch}"
        found[f"{label} videos"] = columns_of(
            code.encode_videos(encoder, reader, list(reader.clips), options=embed)
        )
        found[f"{label} captions"] = columns_of(code.encode_captions(encoder, texts, options=embed))
        nothing = code.encode_videos(encoder, reader, [], options=embed)
        found[f"{label} nothing"] = {n: [str(c.type), len(c)] for n, c in nothing.items()}
        found[f"{label} threads"] = torch.get_num_threads()
    found["devices"] = [opened.choose_device(name) for name in ("cpu", "cuda")]
    return found


def columns_of(columns):
    """Arrow columns by type and sums; models run in float32 here, so more may differ."""
    found = {}
    for name, column in columns.items():
        if hasattr(column, "flatten") and column.type.num_fields:
            values = column.flatten().to_numpy(zero_copy_only=False)
            room = 2e-3 if "half" in str(column.type) else 3e-5
            found[name] = [str(column.type), len(column), sums_of(values, relative=room)]
        else:
            found[name] = [str(column.type), column.to_pylist()]
    return found


def identities():
    """Identities in clear of runs that reach every branch."""
    from reelvec.configs import PipelineConfig
    from reelvec.storage.records import (
        CAPTION_SCHEMA,
        VIDEO_SCHEMA,
        Caption,
        Outcome,
        Video,
        clip_key,
        window_of,
    )
    from tests.support.run_identities import identities as of

    folder = {"kind": "folder", "videos": "/videos"}
    runs = {
        "plain": {},
        "other frames": {"extract": {"resize": "pillow", "damaged": "salvage", "size": 64}},
        "salvaged": {"extract": {"damaged": "salvage", "decoder": "ffmpeg"}},
        "strict": {"extract": {"decoder": "ffmpeg"}},
        "untrained": {"train": {"epochs": 0}},
        "one epoch": {"train": {"epochs": 1}},
        "weights": {"model": {"weights": "/weights.pt"}},
        "legacy scaling": {"train": {"gradient_scaling": "legacy", "processes": 3}},
        "retrained": {"train": {"when_corpus_grows": "retrain"}},
        "batches": {
            "model": {"family": "clip2video", "options": {"mask_layout": "legacy"}},
            "embed": {"batch_size": 15, "shard_rows": 513},
            "train": {"processes": 2, "accumulation": 2},
        },
        "as ever": {"model": {"family": "clip2video", "options": {"mask_layout": "legacy"}}},
        "noise": {
            "model": {"family": "adaclip", "options": {"policy": "raw"}},
            "embed": {"batch_size": 15},
            "train": {"accumulation": 3, "processes": 1},
        },
        "heard": {
            "model": {"family": "frozen", "options": {"hears": True}},
            "extract": {"sound": {"max_seconds": 7.0}},
            "train": {"epochs": 0},
        },
    }
    found = {
        name: json.loads(json.dumps(of(PipelineConfig.model_validate({"corpus": folder} | given))))
        for name, given in runs.items()
    }
    windows = ((None, None), (0, 31), (None, 2.5), (3.5, None), (10800.25, 10801.125), (1.0, 0.5))
    found["clips"] = [clip_key("ab12", start_seconds=s, end_seconds=e) for s, e in windows]
    found["windows"] = [window_of(clip) for clip in (*found["clips"], "ab12")]
    found["records"] = [
        dataclasses.asdict(record)
        for record in (Video("v", "p"), Caption("c", "v", "words"), Outcome("k"))
    ]
    found["schemas"] = [
        [field.name, str(field.type), field.nullable]
        for schema in (VIDEO_SCHEMA, CAPTION_SCHEMA)
        for field in schema
    ]
    found["edges"] = [clip_key("x", start_seconds=999.9 + d) for d in (4e-4, 6e-4, 0.0405)]
    return found


class SandboxWorker:
    """Stands for the sandbox's side of a worker: memory, and nobody watching."""

    def __init__(self):
        self.arrays = []

    def heartbeat(self):
        pass

    def allocate(self, shape, dtype=np.uint8):
        self.arrays.append(np.zeros(shape, dtype))
        return self.arrays[-1]


KINDS = (
    "h264_mp4", "rotated_mp4", "h264_open_mkv", "h264_avi_b", "h264_refresh_mp4", "mpeg2_ts",
    "vp8_webm", "edit_list_mp4", "vfr_mp4",
)  # fmt: skip
SIDE = 48
RULES = {
    "seconds": {"policy": "per_second", "rate": 1.5},
    "window": {"policy": "uniform", "count": 3, "window": (1.2, 3.4)},
    "ends": {"policy": "uniform", "count": 2},
    "repeats": {"policy": "adaclip_subset_uniform", "count": 4, "max_frames": 6},
}


def decoding():
    """Clips of two real files by every rule."""
    from reelvec.configs.decoding import FileLimits, FrameOptions

    found = files_by(KINDS[:2], RULES, ("auto",)) | {"resizings": resizings()}
    defaults = FrameOptions().model_dump() | {"max_pixels": FileLimits().max_pixels}
    return found | {"defaults": defaults}


def kinds():
    """Which frames come out of which kind of file by which decoder."""
    return files_by(KINDS[2:], ("seconds",), ("auto",)) | files_by(
        KINDS, ("seconds",), ("ffmpeg", "decord")
    )


def files_by(names, rules, decoders):
    """Facts of files, and clips of them."""
    from tests.support import media

    found = {}
    for kind in names:
        path = media.video(kind)
        found[f"{kind} probed"] = probed(path)
        for rule in rules:
            for decoder in decoders:
                label = f"{kind} {rule} {decoder}"
                found[label] = decoded(path, kind, RULES[rule], decoder=decoder)
    return found


def damage():
    """What is kept of damaged files, and what is said of those that give nothing."""
    from tests.support import media

    found = {}
    cut = media.damaged("cut.mp4", "h264_fragmented_mp4", keep=0.6)
    noisy = media.damaged("noisy.ts", "mpeg2_ts", hole=(0.4, 0.45))
    for name, path in (("cut", cut), ("noisy", noisy)):
        for damaged in ("strict", "salvage"):
            options = {"decoder": "selective", "damaged": damaged}
            found[f"{name} {damaged}"] = decoded(path, "h264_mp4", RULES["seconds"], **options)
    found["noisy auto"] = decoded(noisy, "h264_mp4", RULES["seconds"], damaged="salvage")
    headless = media.headless("mpeg4_b_avi", 3)  # fewer pictures come out than packets promise
    for rule in ("ends", "window"):
        found[f"headless {rule}"] = decoded(headless, "mpeg4_b_avi", RULES[rule])
    more = decoded(media.video("h264_avi_b"), "h264_avi_b", RULES["ends"], promised=152)
    found["promised more"] = more
    other = decoded(cut, "h264_mp4", RULES["seconds"], content_hash="f" * 32)
    found["other bytes"] = other
    first = media.damaged("first.ts", "mpeg2_ts", hole=(0.01, 0.08))
    for damaged in ("strict", "salvage"):
        found[f"first {damaged}"] = decoded(first, "h264_mp4", RULES["seconds"], damaged=damaged)
    both = media.damaged("both.mp4", "h264_fragmented_mp4", keep=0.6, hole=(0.2, 0.25))
    found["both"] = decoded(both, "h264_mp4", RULES["seconds"], damaged="salvage")
    small = {"max_pixels": 100}
    found["too large"] = decoded(media.video("h264_mp4"), "h264_mp4", RULES["seconds"], **small)
    found["no file"] = decoded(cut.with_name("nowhere.mp4"), "h264_mp4", RULES["seconds"])
    empty = media.damaged("empty.mp4", "h264_fragmented_mp4", keep=0.0)
    found["no byte"] = decoded(empty, "h264_mp4", RULES["seconds"])
    return found


def worked(path, rule, *, content_hash="", promised=0, max_pixels=10**6, **options):
    """A worker's answer, its arrays, and whether a file was decoded whole.

    `promised`: packets the probe is made to count, of which not all hold a picture.
    """
    from reelvec.storage.video import selective
    from reelvec.tasks.decoding import worker as code

    rule = dict(rule)
    start, end = rule.pop("window", (None, None))
    job = {
        "path": str(path), "content_hash": content_hash, "bytes": 0, "mtime_ns": 0, "inode": 0,
        "ctime_ns": 0,
        "start_seconds": start, "end_seconds": end, "rule": rule,
        "frames": {"size": SIDE} | options, "max_pixels": max_pixels,
    }  # fmt: skip
    whole, worker = [], SandboxWorker()
    original, probe = selective.read_sequentially, code.probe
    selective.read_sequentially = lambda reading: whole.append(1) or original(reading)
    if promised:
        code.probe = lambda *a, **k: probe(*a, **k).recounted(np.arange(promised))
    try:
        answer = code.decode_clip(job, worker)
    finally:
        selective.read_sequentially, code.probe = original, probe
    places = answer.get("arrays", [])
    return answer, [worker.arrays[at][: answer["kept"]] for at in places], bool(whole)


def decoded(path, kind, rule, **given):
    """What a worker answers: outcome, indices, times, the barcodes seen, nearness to the source."""
    from reelvec.storage.video import transform
    from tests.support import media

    answer, arrays, whole = worked(path, rule, **given)
    told = {name: answer[name] for name in ("status", "reason")}
    told["in words"] = bool(answer["message"])
    if not arrays:
        return told
    frames, times, indices = arrays
    first, _ = media.KINDS[kind].frames_kept
    near = []
    for frame, index in zip(frames[:3], indices, strict=False):
        expected = np.zeros_like(frame)
        turned = np.rot90(media.painted()[first + index], 1 if kind == "rotated_mp4" else 0)
        transform.fit(turned, size=SIDE, out=expected)
        near.append(bool(np.abs(frame.astype(int) - expected).mean() < 12))
    seen = [media.barcode(np.rot90(f, -1 if kind == "rotated_mp4" else 0)) for f in frames]
    detail = {k: v for k, v in json.loads(answer["detail"]).items() if k != "attempts"}
    return told | {
        "shape": list(frames.shape),
        "indices": indices.tolist(),
        "times": [round(float(t), 4) for t in times],
        "seen": [number - first for number in seen],
        "near": near,
        "all decoded": whole,
        "detail": detail,
    }


def resizings():
    """That frames are resized as asked: Pillow's differ from torch's, by two levels at most."""
    from tests.support import media

    path = media.video("h264_mp4")
    torch_way, pillow_way = (
        worked(path, RULES["window"], resize=how)[1][0].astype(int) for how in ("torch", "pillow")
    )
    apart = np.abs(torch_way - pillow_way)
    return [bool(apart.any()), bool(apart.max() <= 2)]


def probed(path):
    """Facts of a file that do not depend on the encoder's mood."""
    from reelvec.storage.video.content import hash_file
    from reelvec.tasks.decoding.worker import probe_file

    facts = probe_file({"path": str(path), "max_pixels": 10**6}, SandboxWorker())
    marks = ("content_hash", "bytes", "mtime_ns", "inode", "ctime_ns")
    hashed = {k: facts.pop(k) for k in marks}
    facts.pop("packets", None)  # of one FFmpeg: tests/tasks/decoding/test_kept_probe.py
    stat = path.stat()
    expected = (
        hash_file(path), stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns
    )  # fmt: skip
    return facts | {"hashed": tuple(hashed.values()) == expected}


def tables():
    """The rows of embedding tables: new, copied, quarantined; and what makes them stale."""
    import tempfile

    from reelvec.tasks.artifacts import Session
    from reelvec.tasks.embedding import rows
    from reelvec.tasks.training.train import train
    from tests.support.engine_free import run_embed
    from tests.tasks.training import builders

    found = {
        "video signature": rows.video_signature("key", "test", "ok", ""),
        "caption signature": rows.caption_signature("v", "test", "", "words"),
    }
    with tempfile.TemporaryDirectory(prefix="reelvec-vectors-") as folder:
        config = builders.make_store(Path(folder), videos=6, header="seqTransf", epochs=0)
        embed = config.embed.model_copy(update={"batch_size": 2, "shard_rows": 4})
        config = config.model_copy(update={"embed": embed})
        train(Session(config))
        _, snapshot = run_embed(config)
        found |= {f"first {name}": rows_of(snapshot, name) for name in ("videos", "captions")}
        found["first ledger"] = ledger_of(snapshot)
        listed, said = builders.videos_and_captions(6)
        renamed = dataclasses.replace(listed[0], video_id="renamed")
        broken = dataclasses.replace(
            listed[1], content_hash="f" * 32, status="quarantined", reason="damaged", message="no"
        )
        split = dataclasses.replace(listed[2], split="test")
        builders.commit_corpus(config, [*listed[4:], renamed, broken, split, listed[0]], said[1:])
        plan, snapshot = run_embed(config)
        found["plan"] = {
            name: getattr(plan, name)
            for name in ("new", "new_captions", "stale", "copied", "stale_captions", "orphaned")
        }
        found |= {f"second {name}": rows_of(snapshot, name) for name in ("videos", "captions")}
        found["second ledger"] = ledger_of(snapshot)
        broken = dataclasses.replace(broken, video_id="another")
        builders.commit_corpus(config, [listed[4], renamed, broken], said[9:])
        plan, snapshot = run_embed(config)
        found["third plan"] = [plan.new, plan.copied, plan.orphaned, plan.orphaned_captions]
        found["third ledger"] = ledger_of(snapshot)
    return found


def ledger_of(snapshot):
    """What became of every video, in words."""
    return sorted(
        [row.key, row.status, row.reason, row.message, row.detail]
        for part in snapshot.parts("videos")
        for row in part.outcomes()
    )


def rows_of(snapshot, name):
    """A table's columns, vectors by their sums."""
    from reelvec.storage.tables import iter_tables

    found = {}
    for number, piece in enumerate(iter_tables(snapshot, name)):
        columns = {field: piece.column(field).combine_chunks() for field in piece.column_names}
        found[f"part {number}"] = columns_of(columns)
    return found


CASES = {
    case.__name__: case
    for case in (
        sampling, originals, transform, preprocess, blocks, towers, starts, headers, masks,
        clip2video, xclip, xclip_scores, heads, heads_in_training, adaclip, training, mobilenet,
        frozen, tokenizer, features, encoding, identities, decoding, damage, kinds, tables,
    )
}  # fmt: skip


def recipes():
    """Recipe numbers of the code as it is."""
    from reelvec.tasks import identity
    from reelvec.tasks.training.identity import TRAINING_RECIPE

    return {
        "corpus": identity.CORPUS_RECIPE,
        "frames": identity.FRAMES_RECIPE,
        "audio": identity.AUDIO_RECIPE,
        "embeddings": identity.EMBEDDING_RECIPE,
        "evaluation": identity.EVALUATION_RECIPE,
        "training": TRAINING_RECIPE,
    }


def run_case(name):
    """What a case gives now, as JSON would give it back; torch is left as it was."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=()):
        torch.set_num_threads(1)
        try:
            found = CASES[name]()
        finally:
            torch.set_num_threads(threads)
    return json.loads(json.dumps(found, default=int))


def golden(name):
    """What the case gave when its numbers were written."""
    return json.loads(GOLDEN.read_text(encoding="utf-8"))[name]


def differences(name, found=None):
    """Labels of a case whose values are not the golden ones."""
    found = run_case(name) if found is None else found
    held = golden(name)
    labels = [k for k in held if k not in found or not agrees(found[k], held[k])]
    return labels + [k for k in found if k not in held]


def main():
    """Write the golden numbers anew: `python -m tests.support.vector_cases`."""
    found = {"recipes": recipes()} | {name: run_case(name) for name in CASES}
    lines = []
    for name, values in found.items():
        rows = [f"  {json.dumps(label)}: {json.dumps(value)}" for label, value in values.items()]
        lines.append(f"{json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n}")
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
