"""The best of a search, read again by a model that sees text and clip together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from reelvec.configs.schema import ExtractConfig, SamplingConfig
from reelvec.errors import RequestError
from reelvec.models.errors import ModelError
from reelvec.models.frozen.qwen3_vl_reranker import Qwen3VLReranker, build_reranker
from reelvec.storage.errors import WeightsError
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.records import Video
from reelvec.storage.weights.paths import PREFIX, is_pretrained
from reelvec.storage.weights.pretrained import read_pretrained
from reelvec.tasks.decoding.files import ClipJob, ClipResult, decode_clips
from reelvec.tasks.embedding.clip_calls import clip_of
from reelvec.tasks.embedding.encoder import choose_device
from reelvec.tasks.searching.search import Answers, SearchRow

__all__ = ["CANDIDATES", "UNIT", "Reranker", "check_candidates", "open_reranker", "rerank"]

CANDIDATES = 20
"""Rows that are read again if nobody says otherwise: a pass takes 17 TMAC at 2B and 30 frames."""
UNIT = "P(yes)"
"""Of the scores: how likely the model says yes, of yes and no."""
_NAMED = 3
"""Files a note names."""


@dataclass(frozen=True, kw_only=True)
class Reranker:
    """A model that is open, and how it wants its frames."""

    name: str
    model: Qwen3VLReranker
    options: ExtractConfig
    device: torch.device


def open_reranker(name: str, *, options: ExtractConfig, device: str) -> Reranker:
    """Load it whole.

    Args:
        name: hf:FOLDER_OR_NAME, or a folder.
        options: of the run: how its files are decoded, and within which limits.
        device: auto, cpu or cuda.

    Raises:
        WeightsError: it cannot be found, read, or is of another model.
    """
    if not is_pretrained(name) and Path(name).expanduser().is_dir():
        name = PREFIX + name
    if not is_pretrained(name):
        raise WeightsError(f"no folder ({name}) of a reranker; give hf:FOLDER or hf:ORG/NAME")
    try:
        model = build_reranker(read_pretrained(name))
    except ModelError as error:
        raise WeightsError(f"({name}) cannot rerank: {error}", path=name) from None
    own = model.own_input
    changes = own.form.model_dump()
    if own.rule is not None:
        changes["sampling"] = SamplingConfig(**vars(own.rule))
    where = torch.device(choose_device(device))
    return Reranker(
        name=name, model=model.to(where), options=options.model_copy(update=changes), device=where
    )


def check_candidates(candidates: int, *, top: int) -> None:
    """Refuses what has no answer.

    Raises:
        RequestError: more rows are asked for than are read again.
    """
    if top > candidates:
        raise RequestError(
            f"top ({top}) is more than the candidates ({candidates}) that are read again; ask for"
            " fewer, or raise --candidates"
        )


def rerank(
    answers: Answers,
    text: str,
    *,
    reranker: Reranker,
    find: Callable[[str], Video | None],
    windows: bool,
    top: int,
) -> Answers:
    """The rows of a search in the order of the reranker's scores; equal ones as they stood.

    Args:
        answers: the candidates; each costs a pass of the model.
        text: what was looked for.
        reranker: who reads.
        find: the corpus' video of an id.
        windows: the rows are windows of files, which are read alone.
        top: rows to give.
    """
    scored: list[SearchRow] = []
    lost: list[str] = []
    there: list[tuple[SearchRow, Video]] = []
    for row in answers.rows:
        if (video := find(row.video_id)) is None:
            lost.append(f"{row.video_id} (gone from the corpus)")
        else:
            there.append((row, video))
    jobs = [_job(row, video, windows=windows) for row, video in there]
    with closing(decode_clips(jobs, options=reranker.options)) as results:
        for (row, _), result in zip(there, results, strict=True):
            if len(result.frames):
                scored.append(replace(row, score=_score(text, result, reranker=reranker)))
            else:
                lost.append(f"{row.video_id} ({result.outcome.reason})")
    best = sorted(scored, key=lambda row: -row.score)[:top]
    read = f"The best {len(scored)} by {answers.unit} were read again by {reranker.name}."
    return replace(
        answers,
        rows=[replace(row, rank=rank) for rank, row in enumerate(best, start=1)],
        unit=UNIT,
        notes=(*answers.notes, *_notes(lost), read),
    )


def _job(row: SearchRow, video: Video, *, windows: bool) -> ClipJob:
    """The file of a row, or the part of it that is a window."""
    job = ClipJob.from_video(video, clip_key=row.video_id)
    if not windows:
        return job
    return replace(job, start_seconds=row.start_seconds, end_seconds=row.end_seconds)


@torch.inference_mode()
def _score(text: str, result: ClipResult, *, reranker: Reranker) -> float:
    frames = ClipFrames(
        clip_key=result.clip_key,
        frames=result.frames,
        pts_seconds=result.pts_seconds,
        frame_index=result.frame_index,
        source=result.source,
    )
    return reranker.model.score(text, clip_of(frames, device=reranker.device))


def _notes(lost: Sequence[str]) -> Iterator[str]:
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        yield (
            f"{len(lost)} of the best could not be read again, and are left out:"
            f" {', '.join(lost[:_NAMED])}{more}; search without --rerank shows them"
        )
