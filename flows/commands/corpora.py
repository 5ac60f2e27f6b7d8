"""Commands about corpora: corpus check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelvec.flows.console.options import JsonFlag
from reelvec.flows.console.output import print_json, print_table, say

if TYPE_CHECKING:
    from reelvec.storage.corpora.check import CorpusCheck, SplitCheck

__all__ = ["register"]

corpus = typer.Typer(
    help="Look at a corpus before a run: annotation files and videos.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(corpus, name="corpus")


@corpus.callback()
def _group() -> None:
    """Keeps `check` a word of its own although it is the only one."""


@corpus.command()
def check(
    source: Annotated[str, typer.Argument(metavar="NAME|PRESET|FILE.yaml")],
    root: Annotated[
        str | None,
        typer.Option(help="Folder of both: its folders videos and annotations, or all in itself."),
    ] = None,
    videos: Annotated[str | None, typer.Option(help="Folder of the videos.")] = None,
    annotations: Annotated[str | None, typer.Option(help="Folder of the annotation files.")] = None,
    protocol: Annotated[str | None, typer.Option(help="This protocol only.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Count a corpus' videos and captions beside the published numbers; nothing is decoded.

    NAME is a benchmark (msrvtt, msvd, lsmdc, didemo, activitynet, vatex, adaclip); a preset or file
    names its own corpus. Exit code 1 where something is missing.
    """
    given = {
        "videos": videos or _under(root, "videos"),
        "annotations": annotations or _under(root, "annotations"),
        "protocol": protocol,
    }
    result = _check(source, given={key: value for key, value in given.items() if value})
    if as_json:
        print_json({**dataclasses.asdict(result), "complete": result.complete})
    else:
        _show(result)
    if not result.complete:
        raise typer.Exit(1)


def _under(root: str | None, name: str) -> str | None:
    """The folder of that name under the root, or the root itself where there is none."""
    if root is None:
        return None
    if not Path(root).expanduser().is_dir():
        from reelvec.configs import ConfigError

        raise ConfigError(f"--root ({root}) is no folder; give the one that holds {name}")
    folder = Path(root).expanduser() / name
    return str(folder) if folder.is_dir() else root


def _check(source: str, *, given: dict[str, str]) -> CorpusCheck:
    from difflib import get_close_matches

    from reelvec.configs import ConfigError, load
    from reelvec.configs.corpora import DRAWN, BenchmarkCorpus
    from reelvec.configs.presets import preset_names
    from reelvec.storage.corpora import open_corpus
    from reelvec.storage.corpora.check import check_corpus, check_listing
    from reelvec.storage.corpora.registry import BENCHMARKS

    if source in BENCHMARKS:
        for key in ("videos", "annotations"):
            if key not in given:
                raise ConfigError(
                    f"({source}) needs --{key}, the folder of its {key}, or --root, that of both",
                    key=key,
                )
        only = [given.pop("protocol")] if "protocol" in given else []
        return check_corpus(source, protocols=only, **given)
    named = "/" in source or source.endswith((".yaml", ".yml")) or source in preset_names()
    if not named:
        near = get_close_matches(source, BENCHMARKS, n=1)
        if near:
            raise ConfigError(f"no benchmark is called ({source}); did you mean {near[0]}?")
    config = load(source, overrides=[f"corpus.{key}={value}" for key, value in given.items()])
    if config.corpus.kind in DRAWN:
        raise ConfigError(f"({source}) draws its own videos; there is nothing to check")
    if not isinstance(config.corpus, BenchmarkCorpus):
        reader = open_corpus(config.corpus, store_dir=config.store)
        return check_listing(config.corpus.kind, reader=reader)
    settings = config.corpus.model_dump(include={"kind", "videos", "annotations"})
    return check_corpus(protocols=[config.corpus.protocol], **settings)


def _show(result: CorpusCheck) -> None:
    rows = [_row(split) for split in result.splits]
    columns = ["protocol", "split", "videos", "captions", "missing files", "as published"]
    absent = () if any(split.published for split in result.splits) else ("protocol", "as published")
    if rows:
        print_table(result.kind, rows, [name for name in columns if name not in absent])
    for source in dict.fromkeys(
        split.published.source for split in result.splits if split.published
    ):
        say(f"published: {source}")
    for overlap in result.overlaps:
        one, other = (" ".join(part) for part in (overlap.one, overlap.other))
        say(f"overlap: {one} and {other} share {overlap.videos} videos")
    for note in result.notes:
        say(f"note: {note}")
    for problem in result.problems:
        say(f"problem: {problem}")
    if result.complete:
        say("complete")
        return
    say("incomplete" + ("; where to obtain what is missing:" if result.obtain else ""))
    for place in result.obtain:
        say(f"  {place}")


def _row(split: SplitCheck) -> dict[str, Any]:
    published = split.published
    return {
        "protocol": split.protocol,
        "split": split.split or "(every)",
        "videos": _beside(split.videos, published.videos if published else 0),
        "captions": _beside(split.captions, published.captions if published else 0),
        "missing files": split.missing_videos,
        "as published": ("yes" if split.as_published else "no") if published else "",
    }


def _beside(count: int, published: int) -> str:
    return f"{count:,} of {published:,}" if published else f"{count:,}"
