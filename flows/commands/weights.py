"""Commands about weights files: inspect one, import one, export one for the originals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelvec.configs import ConfigError
from reelvec.flows.console.options import (
    JsonFlag,
    StoreOption,
    default_store,
)
from reelvec.flows.console.output import print_json, print_table, say

__all__ = ["register"]

FileArgument = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Archive, checkpoint of any system, or hf:FOLDER_OR_NAME."),
]
FamilyOption = Annotated[
    str | None, typer.Option(help="Model family, where the tensors fit several.")
]
ForceFlag = Annotated[bool, typer.Option("--force", help="Overwrite OUT where it exists.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`, as `weights …`."""
    group = typer.Typer(
        help="Look into weights files, take them over, give them back.", no_args_is_help=True
    )
    group.command()(inspect)
    group.command("import")(import_)
    group.command()(export)
    app.add_typer(group, name="weights")


def inspect(file: FileArgument, as_json: JsonFlag = False) -> None:
    """Show what a weights file holds: families it fits, what they cost, sizes, keys, dtypes, hash.

    MACs are those of a text of max_words tokens and of a video of max_frames frames.
    """
    from reelvec.tasks.weights.files import inspect_file

    facts = inspect_file(file)
    if as_json:
        print_json(facts)
        return
    rows = [{"what": key, "value": _line(facts[key])} for key in facts if key != "families"]
    rows += [{"what": "fits", "value": _line(fit)} for fit in facts["families"]]
    print_table(file, rows, ["what", "value"])


def import_(
    file: FileArgument,
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Default: FILE's name + .safetensors.")
    ] = None,
    family: FamilyOption = None,
    force: ForceFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Check that a file is whole, and write it as a checkpoint of ours: no pickle, model named."""
    from reelvec.tasks.weights.files import import_file

    out = out or Path(f"{Path(file).stem}.safetensors")
    done = import_file(file, out, family=family, force=force)
    if as_json:
        print_json(done)
        return
    say(f"{out}: {done['keys']} tensors, {done['model']['family']}")
    say(f"use it: reelvec embed VIDEOS --weights {out}, or --set model.weights={out}")


def export(
    paths: Annotated[
        list[Path], typer.Argument(metavar="[FILE] OUT", help="Without FILE: the store's model.")
    ],
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            help="state-dict (pytorch_model.bin.N), pth (with configuration), archive (OpenAI's"
            " state dict), safetensors (ours).",
        ),
    ] = "state-dict",
    store: StoreOption = None,
    family: FamilyOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Keep fp32 where the originals write fp16.")
    ] = False,
    force: ForceFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a model as the original systems read it: FILE's, or that of what is searched."""
    from reelvec.tasks.weights.files import EXPORT_FORMATS, ExportOptions, export_file

    if len(paths) > 2 or (len(paths) == 2 and store is not None):
        raise ConfigError("give FILE OUT, or --store DIR OUT, not more")
    if layout not in EXPORT_FORMATS:
        raise ConfigError(f"--format ({layout}) is none of {', '.join(EXPORT_FORMATS)}")
    done = export_file(
        str(paths[0]) if len(paths) == 2 else None,
        paths[-1],
        store=store or default_store(),
        options=ExportOptions(layout=layout, family=family, full=full, force=force),
    )
    if as_json:
        print_json(done)
    else:
        say(f"{done['out']}: {done['family']} as {done['format']}, {done['bytes']:,} bytes")


def _line(value: object) -> str:
    """A value on one line: groups as key=value."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={_line(item)}" for key, item in value.items())
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)
