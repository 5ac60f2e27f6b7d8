"""`python -m tests.parity [FOLDER ...]`: golden files against our models.

Without a folder: the repository's own, tests/resources/goldens. Each file names its family,
options and sizes; the registry builds the model. Prints a table; exits with 0 only if whatever
could be checked is within its tolerance, 1e-9 on logits in float64 and 1e-6 on cosine in float32.
Files of families that are not here are named, and neither agree nor fail.
"""

import argparse
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from reelvec.models.registry import family_names
from tests.parity import captions, distillation, scores, tables, topk, training
from tests.parity.common import Golden, Line
from tests.resources import GOLDENS

COLUMNS = ("case", "dtype", "logits", "cosine", "verdict", "note")


def files(folder: Path) -> list[Path]:
    """What a folder holds to check; `index.json` describes the others."""
    found = [*folder.glob("*.safetensors"), *folder.glob("*.json")]
    return sorted(path for path in found if path.name != "index.json")


def check_file(path: Path) -> Iterator[Line]:
    """The lines of one file. Whatever goes wrong is a line that fails, never a file left out."""
    try:
        if path.suffix == ".json":
            yield tables.check(path)
            return
        golden = Golden.read(path)
        family = golden.metadata["family"]
        if family not in family_names():
            yield Line(golden.name, "-", None, note=f"no such family here: {family}")
        elif "training" in golden.metadata:
            yield from training.check(golden)
        elif "input/captions_per_video" in golden.tensors:
            yield from captions.check(golden)
        elif golden.group("state/"):
            yield from scores.check(golden)
        elif "input/case0/teacher_sim" in golden.tensors:
            yield from distillation.check(golden)
        else:
            yield from topk.check(golden)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        note = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        yield Line(path.stem, "-", False, note=note.replace("\n", " "))


def show(line: Line) -> str:
    """One row of the table."""
    numbers = [f"{x:.1e}" if x is not None else "-" for x in (line.logits, line.cosine)]
    verdict = {True: "ok", False: "FAIL", None: "-"}[line.ok]
    return (
        f"{line.case:<40} {line.dtype:<8} {numbers[0]:>8} {numbers[1]:>8} {verdict:<7} {line.note}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Check folders; 0 if all of it agrees, 1 if not, 2 if there is nothing to check."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of golden files")
    parser.add_argument("--only", default="", help="check only files whose name holds this")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    paths = []
    for folder in given.folders or [GOLDENS]:
        found = [path for path in files(folder) if given.only in path.name]
        if not found:
            print(f"no golden files in {folder}: give a folder of *.safetensors and *.json")
            return 2
        paths += found
    return report(paths)


def report(paths: list[Path]) -> int:
    """Print the table of these files; 0 if all of it agrees, else 1; 2 if nothing was checked."""
    case, dtype, logits, cosine, verdict, note = COLUMNS
    print(f"{case:<40} {dtype:<8} {logits:>8} {cosine:>8} {verdict:<7} {note}")
    verdicts: list[bool | None] = []
    for path in paths:
        for line in check_file(path):
            print(show(line), flush=True)
            verdicts.append(line.ok)
    unbuilt = verdicts.count(None)
    note = f", {unbuilt} of no family here" if unbuilt else ""
    print(f"{verdicts.count(True)} of {len(verdicts)} checks agree ({len(paths)} files{note})")
    if False in verdicts:
        return 1
    return 0 if True in verdicts else 2
