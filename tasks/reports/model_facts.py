"""What a report says of the model: its curve, its costs, and the frames its policy kept."""

from __future__ import annotations

from collections import Counter

from reelvec.configs.decoding import FrameForm
from reelvec.models.costs import costs_of
from reelvec.storage.tables import iter_tables
from reelvec.tasks.reports.rendering.contents import KeptFrames
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.training.curves import StepPoint, read_curve

__all__ = ["cost_facts", "curve_of", "kept_frames_of", "pixel_words"]

_SELECTED = "selected"


def curve_of(sources: ReportSources) -> tuple[StepPoint, ...]:
    """A point a step of the training; none where it was not trained here, or before there were."""
    if sources.origin is None or not sources.config.train.epochs:
        return ()
    return tuple(read_curve(sources.origin.trained.snapshot))


def cost_facts(sources: ReportSources) -> tuple[tuple[str, str], ...]:
    """Parameters, MACs and pixels of the model that made the tables."""
    if sources.origin is None:
        return ()
    made_by = sources.origin.encoder().model
    costs = costs_of(made_by)
    facts = [
        ("parameters", f"{costs.parameters:,}"),
        ("pixels", pixel_words(sources.config.extract, own=made_by.pixels)),
    ]
    if costs.macs is not None:
        model = sources.config.model
        facts += [
            ("MACs a text", f"{billions(costs.macs.text)} (of {model.max_words} tokens)"),
            ("MACs a video", f"{billions(costs.macs.video)} (of {model.max_frames} frames)"),
        ]
    return tuple(facts)


def pixel_words(stored: FrameForm, *, own: FrameForm) -> str:
    """Whether the stored frames are as the model's own preprocessing makes them, and if not, how.

    Torch's resizing and Pillow's, at most 2 levels apart, are both official; what differs is said.
    """
    if (stored.fit, stored.size, stored.interpolation) == (own.fit, own.size, own.interpolation):
        return f"own: {_form(stored)}, resized by {stored.resize}"
    return f"derived: {_form(stored)}, where the model's own are {_form(own)}"


def _form(form: FrameForm) -> str:
    side = f"shorter side at most {form.size}" if form.fit == "native" else str(form.size)
    return f"{form.fit}, {side}, {form.interpolation}"


def billions(count: int) -> str:
    """A count of MACs as a person reads it."""
    return f"{count / 1e9:.4g} G"


def kept_frames_of(sources: ReportSources) -> KeptFrames | None:
    """How often each of the given frames was kept, where a policy chooses (AdaCLIP)."""
    parts = sources.embeddings.parts("videos")
    if not parts or f"{_SELECTED}:" not in parts[0].receipt.schema:
        return None
    counts: Counter[int] = Counter()
    videos = 0
    for table in iter_tables(sources.embeddings, "videos", columns=[_SELECTED]):
        videos += len(table)
        counts.update(table.column(_SELECTED).combine_chunks().flatten().to_pylist())
    given = sources.config.model.max_frames
    return KeptFrames(videos=videos, counts=tuple(counts[place] for place in range(given)))
