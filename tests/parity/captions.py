"""A head on given features, videos of several captions: scores and metrics, both ways."""

import numpy as np
import torch

from reelvec.models.ranking.metrics import MetricOptions, evaluate_similarity
from reelvec.models.xpool.pooling import PoolFrames
from tests.parity.common import DTYPES, FP32_COSINE, FP64, Line, distance

KS = (1, 5, 10, 50, 100)


def check(golden):
    for name, dtype in DTYPES.items():
        exact = name == "float64"
        outputs = golden.group("output/")
        sim = cosines(golden, dtype)
        error = distance(sim, outputs["sim64" if exact else "sim"])
        padded = distance(
            by_caption(golden, sim), outputs["sims_padded64" if exact else "sims_padded"]
        )
        problems = [f"sims_padded off by {padded:.1e}"] if not padded <= FP32_COSINE else []
        for direction, found in metrics(golden, sim).items():
            if not distance(found, outputs[f"{direction}_metrics"].double()) <= 1e-5:
                problems.append(f"{direction} metrics are {found.tolist()}")
        ok = error <= (FP64 if exact else FP32_COSINE) and not problems
        yield Line(golden.name, name, ok, error, error, "; ".join(problems))


@torch.no_grad()
def cosines(golden, dtype):
    """Of every text with every video, from what is kept of videos."""
    state = golden.group("state/pool_frames.")
    width = len(state["layer_norm1.weight"])
    head = PoolFrames(width, heads=golden.json("options")["num_mha_heads"]).to(dtype)
    head.load_state_dict(state)
    given = golden.group("input/")
    frames = head.layer_norm1(given["frame_features"].to(dtype))
    counts = torch.ones(frames.shape[:2], dtype=torch.int64)
    return head.cosines(head.asked(given["text_feature"].to(dtype)), head.folded(frames, counts))


def by_caption(golden, sim):
    """[videos, most captions, videos], NaN where a video has fewer captions."""
    counts = golden.tensors["input/captions_per_video"].tolist()
    padded = sim.new_full((len(counts), max(counts), sim.shape[1]), torch.nan)
    for video, rows in enumerate(sim.split(counts)):
        padded[video, : len(rows)] = rows
    return padded


def metrics(golden, sim):
    """R@k, median and mean rank by direction; this original takes the ordinary median."""
    counts = golden.tensors["input/captions_per_video"].numpy()
    owners = np.repeat(np.arange(len(counts)), counts)
    found = evaluate_similarity(
        lambda: iter([sim.double().numpy()]),
        text_to_video=owners,
        n_videos=len(counts),
        options=MetricOptions(ks=KS),
    )
    ranks = {"t2v": found.ranks_t2v, "v2t": found.ranks_v2t}
    return {
        direction: torch.tensor(
            [*(100 * (r <= k).mean() for k in KS), np.median(r), r.mean()], dtype=torch.float64
        )
        for direction, r in ranks.items()
    }
