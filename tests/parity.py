"""`python -m tests.parity DIR`: any folder of golden files against our models.

Each file names its family, options and sizes; the registry builds the model. Prints a table and
exits non-zero if anything is outside the tolerance written in the design: 1e-9 on logits in
float64, 1e-6 on cosine in float32.
"""

import argparse
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from tests import parity_scores, parity_tables, parity_topk, parity_training
from tests.parity_common import Golden, Line

COLUMNS = ("case", "dtype", "logits", "cosine", "verdict", "note")


def files(folder: Path) -> list[Path]:
    """What a folder holds to check; `index.json` describes the others."""
    found = [*folder.glob("*.safetensors"), *folder.glob("*.json")]
    return sorted(path for path in found if path.name != "index.json")


def check_file(path: Path) -> Iterator[Line]:
    """The lines of one file. Whatever goes wrong is a line that fails, never a file left out."""
    try:
        if path.suffix == ".json":
            yield parity_tables.check(path)
            return
        golden = Golden.read(path)
        if "training" in golden.metadata:
            yield from parity_training.check(golden)
        elif golden.group("state/"):
            yield from parity_scores.check(golden)
        else:
            yield from parity_topk.check(golden)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        note = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        yield Line(path.stem, "-", False, note=note.replace("\n", " "))


def show(line: Line) -> str:
    """One row of the table."""
    numbers = [f"{x:.1e}" if x is not None else "-" for x in (line.logits, line.cosine)]
    verdict = "ok" if line.ok else "FAIL"
    return (
        f"{line.case:<40} {line.dtype:<8} {numbers[0]:>8} {numbers[1]:>8} {verdict:<7} {line.note}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Check a folder; 0 if all of it agrees, 1 if not, 2 if there is nothing to check."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of golden files")
    parser.add_argument("--only", default="", help="check only files whose name holds this")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    paths = [path for path in files(given.folder) if given.only in path.name]
    if not paths:
        print(f"no golden files in {given.folder}: give a folder of *.safetensors and *.json")
        return 2
    case, dtype, logits, cosine, verdict, note = COLUMNS
    print(f"{case:<40} {dtype:<8} {logits:>8} {cosine:>8} {verdict:<7} {note}")
    failed = total = 0
    for path in paths:
        for line in check_file(path):
            print(show(line), flush=True)
            total += 1
            failed += not line.ok
    print(f"{total - failed} of {total} checks agree ({len(paths)} files)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
