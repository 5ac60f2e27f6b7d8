"""The table of docs/papers-order.md: ``python -m tests.papers_table STORE``.

Reads the runs of configs/papers.yaml that the store holds. A number is the mean over seeds;
its 95 % interval is that of 2000 resamples, each of which draws seeds and, independently, test
videos, with replacement. MACs are those of a video (models.costs).
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import reelvec
from reelvec.configs.sweeps import load_sweep
from reelvec.models.clip.architecture import architecture
from reelvec.models.costs import costs_of
from reelvec.models.registry import build

SWEEP = Path(__file__).parents[1] / "configs/papers.yaml"
RESAMPLES = 2000


def macs_per_video(config):
    """Multiply-accumulates of a video in evaluation."""
    model = config.model
    with torch.device("meta"):
        made = build(
            model.family,
            options=model.options,
            architecture=architecture(model.architecture),
            max_words=model.max_words,
            max_frames=model.max_frames,
        )
    return costs_of(made).macs.video


def mean_and_interval(hits, *, seed=0):
    """Mean of hits [seeds, queries] in percent, and the 95 % interval over both."""
    rng = np.random.default_rng(seed)
    seeds, queries = hits.shape
    means = [
        hits[rng.integers(0, seeds, seeds)][:, rng.integers(0, queries, queries)].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = 100 * np.percentile(means, [2.5, 97.5])
    return 100 * float(hits.mean()), float(low), float(high)


def ranks_of(run):
    """Rank of each caption's video, [captions], by the caption's name."""
    table = run.table("ranks").arrow(["caption_id", "rank"])
    order = np.argsort(table["caption_id"].to_pylist())
    return np.array(table["rank"])[order]


def rows(store):
    """A row a preset: its name, MACs, seeds, and (mean, low, high) of R@1 and R@5."""
    ranks, configs = defaultdict(list), {}
    known = {run.name: run for run in store.runs() if "ranks" in run.tables}
    for one in load_sweep(SWEEP, store=None).runs:
        preset = str(one.values["preset"])
        if one.config.name not in known:
            continue  # not run yet
        ranks[preset].append(ranks_of(known[one.config.name]))
        configs[preset] = one.config
    for preset, of_seeds in ranks.items():
        together = np.stack(of_seeds)
        yield (
            preset.removeprefix("papers/"),
            macs_per_video(configs[preset]),
            len(of_seeds),
            *(mean_and_interval(together <= k) for k in (1, 5)),
        )


def main():
    """Print the table."""
    print("| model | seeds | R@1 | R@5 | MACs a video |\n| --- | --- | --- | --- | --- |")
    for name, macs, seeds, *recalls in rows(reelvec.open(sys.argv[1])):
        cells = [f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in recalls]
        print(f"| {name} | {seeds} | {' | '.join(cells)} | {macs / 1e6:.2f} M |")


if __name__ == "__main__":
    main()
