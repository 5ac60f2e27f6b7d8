"""The command that searches: by words, by many words, by a video, a file or a vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelvec.configs import ConfigError
from reelvec.configs.errors import cut
from reelvec.errors import RequestError
from reelvec.flows.console.options import JsonFlag, RunOption, StoreOption
from reelvec.flows.console.output import complain, print_csv, print_json, print_table
from reelvec.flows.console.stores import opened_store

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from reelvec.api.searching import Search
    from reelvec.tasks.searching.search import Answers

__all__ = ["register"]

_COLUMNS = ("video_id", "start_seconds", "end_seconds", "best_seconds", "path")


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(search)


def search(  # noqa: PLR0913, PLR0917 - the options of a command are its parameters
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    store: StoreOption = None,
    run: RunOption = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Rows to show, of each query.")] = 10,
    split: Annotated[
        str | None, typer.Option(help="Only videos of this split (and of none).")
    ] = None,
    batch: Annotated[
        Path | None, typer.Option(help="A UTF-8 text file, a query a line.", metavar="FILE.txt")
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="A video of the run: its nearest others.", metavar="ID")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="A video or picture from elsewhere.", metavar="FILE")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Vectors [D] or [Q, D] of floats.", metavar="FILE.npy")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help='Only videos that fit, e.g. "duration > 10".', metavar="EXPRESSION"),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(help="What you know of videos, by video_id.", metavar="FILE.parquet"),
    ] = None,
    reranker: Annotated[
        str | None,
        typer.Option(
            "--rerank",
            help="A Qwen3-VL-Reranker that reads the best again: hf:FOLDER.",
            metavar="WEIGHTS",
        ),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="How many --rerank reads again; 20 if not said.")
    ] = None,
    at_most: Annotated[
        int | None,
        typer.Option(min=1, help="Score no more videos; says whether that was enough."),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Whole videos, also where the run has windows.")
    ] = False,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="By an index (`reelvec index`), which may miss.")
    ] = False,
    column: Annotated[
        str, typer.Option(help="What is compared: of a model that hears also audio, audio_video.")
    ] = "embedding",
    as_json: JsonFlag = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a header and a line an answer, as CSV.")
    ] = False,
) -> None:
    """Rank the videos of a run by a text, or by what --batch, --like, --file or --vectors name."""
    given = {"TEXT": text, "--batch": batch, "--like": like, "--file": file, "--vectors": vectors}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        what = " and ".join(named) or "nothing"
        raise ConfigError(f"given: {what}; give one of {', '.join(given)}")
    by_words, limited = named[0] in {"TEXT", "--batch"}, at_most is not None
    alone = f"is given with {named[0]}; it is of TEXT and --batch alone"
    for wrong, words in (
        (as_json and as_csv, "--json and --csv are both given; one document is printed"),
        (where is not None and not where.strip(), "--where is empty; say what a video must fit"),
        (attributes and not where, "--attributes is given without --where; say what is looked for"),
        (candidates and not reranker, "--candidates is given without --rerank; name who reads"),
        (reranker and not by_words, f"--rerank {alone}"),
        (limited and not by_words, f"--at-most {alone}"),
        (limited and reranker, "--at-most and --rerank are both given; what is read is exact"),
        (limited and approximate, "--approximate and --at-most: each says what is scored; choose"),
    ):
        if wrong:
            raise ConfigError(words)
    opened = opened_store(store).run(run)
    how: dict[str, Any] = {
        "times": as_json,
        "whole": whole,
        "approximate": approximate,
        "column": column,
    }
    with opened.searches(**how) as searches:
        only = None if where is None else _chosen(searches, where, attributes=attributes)
        options: dict[str, Any] = {"top": top, "split": split, "only": only}
        options |= {"at_most": at_most} if limited else {}
        texts = _lines(batch) if batch is not None else [text or ""]
        if reranker is not None:
            options |= {"reranker": reranker} | ({"candidates": candidates} if candidates else {})
            found = list(zip(texts, searches.reranked(texts, **options), strict=True))
        elif batch is not None:
            found = list(zip(texts, searches.texts(texts, **options), strict=True))
        else:
            found = _one(searches, given, **options)
    _show(found, as_json=as_json, as_csv=as_csv, many=batch is not None)


def _show(found: list[tuple[str, Answers]], *, as_json: bool, as_csv: bool, many: bool) -> None:
    """Queries and their answers, as one document or for a person."""
    if as_json:
        documents = [_document(query, one) for query, one in found]
        print_json({"queries": documents} if many or len(found) != 1 else documents[0])
    elif as_csv:
        _print_csv(found)
    else:
        _print_tables(found)


def _chosen(searches: Search, where: str, *, attributes: Path | None) -> pa.Array:
    """Ids of the videos that fit `where`.

    Raises:
        ConfigError: it, or the file of attributes, cannot be used.
    """
    try:
        return searches.where(where, attributes=attributes)
    except RequestError as error:
        raise ConfigError(str(error)) from None


def _one(searches: Search, given: dict[str, Any], **options: Any) -> list[tuple[str, Answers]]:
    """What was asked for, and what was found, but for --batch."""
    if (text := given["TEXT"]) is not None:
        return [(text, searches.text(text, **options))]
    if (like := given["--like"]) is not None:
        return [(f"like {like}", searches.like(like, **options))]
    if (file := given["--file"]) is not None:
        return [(f"like {file}", searches.file(file, **options))]
    path = given["--vectors"]
    answers = searches.vectors(_vectors(path), **options)
    return [(f"row {row} of {path}", one) for row, one in enumerate(answers)]


def _lines(path: Path) -> list[str]:
    """The queries of a file; empty lines are none.

    Raises:
        ConfigError: it cannot be read, is not UTF-8, or has no query.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--batch ({path}): {reason}; give a UTF-8 text file") from None
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise ConfigError(f"--batch ({path}) has no query; give one a line")
    return texts


def _vectors(path: Path) -> npt.NDArray[np.generic]:
    """[Q, D] of a .npy file, which is never unpickled.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            vectors = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--vectors ({path}): {reason}; give what numpy.save wrote") from None
    return vectors[None] if vectors.ndim == 1 else vectors


def _document(query: str, answers: Answers) -> dict[str, Any]:
    rows = [row.as_dict() for row in answers.rows]
    return {
        "query": query,
        "unit": answers.unit,
        "videos": answers.videos,
        "scored": answers.scored,
        "recall": answers.recall,
        "undecided": answers.undecided,
        "notes": list(answers.notes),
        "results": rows,
    }


def _columns(found: list[tuple[str, Answers]]) -> list[str]:
    """What is shown of an answer; the best second where windows were looked at."""
    looked = any(row.best_seconds is not None for _, answers in found for row in answers.rows)
    return [name for name in _COLUMNS if looked or name != "best_seconds"]


def _print_csv(found: list[tuple[str, Answers]]) -> None:
    rows = [
        {"query": query, **row.as_dict(), "unit": answers.unit}
        for query, answers in found
        for row in answers.rows
    ]
    columns = _columns(found)
    print_csv(rows, ["query", "rank", "score", "unit", columns[0], "split", *columns[1:]])
    for note in dict.fromkeys(note for _, answers in found for note in answers.notes):
        complain(note)


def _print_tables(found: list[tuple[str, Answers]]) -> None:
    for query, answers in found:
        rows = [row.as_dict() | {answers.unit: row.score} for row in answers.rows]
        print_table(f"“{cut(query)}”", rows, ["rank", answers.unit, *_columns(found)])
    for note in dict.fromkeys(note for _, answers in found for note in answers.notes):
        complain(note)
