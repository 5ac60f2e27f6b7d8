"""`reelvec embed` over the corpus: what it covers, why not the rest, and its stored frames.

    python -m tests.frame_truth.stored [--folder CORPUS] [--write]

`--write` puts the table into docs/frame-truth.md, below the one of tests.benchmarks.decode.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import reelvec
from tests.frame_truth import corpus, page, reference, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "frame-truth.md"


@dataclass(frozen=True, eq=False)
class Stored:
    """Frames of a store in the form `verdicts` compares."""

    frames: np.ndarray


def embedded(folder, store):
    """Run the command and open what it made."""
    program = Path(sys.executable).with_name("reelvec")
    command = [str(program), "embed", str(folder), "--store", str(store)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    print(done.stderr[-2000:] or done.stdout[-2000:])
    return reelvec.open(store).run(), done.returncode


def compared(run, files):
    """(kinds whose stored frames are right, largest levels off, sentences about what is wrong)."""
    outcomes = {row.video_id: row for row in run.ledger()}
    right, worst, wrong = 0, 0, []
    for name, path in files.items():
        kind, row = corpus.KINDS[name], outcomes[path.stem]
        if kind.refused or row.status != "ok":
            if (row.status == "quarantined") != kind.refused:
                wrong.append(f"{name}: {row.status}, {row.reason}")
            continue
        truth, clip = reference.decode(path, kind=kind), run.frames(path.stem)
        picks = truth.one_a_second()
        seen = [verdicts.code.read(frame) for frame in clip.frames]
        if seen != [truth.seen[i] for i in picks]:
            wrong.append(f"{name}: other frames are stored")
            continue
        right += 1
        if not kind.resized:
            worst = max(worst, verdicts.levels_off(Stored(clip.frames), truth, picks))
    return right, worst, wrong


def table(run):
    """Outcomes by reason."""
    groups = {corpus.stem(name): group for group, kinds in corpus.GROUPS.items() for name in kinds}
    counts = Counter((r.status, r.reason, groups[r.video_id]) for r in run.ledger())
    outcomes = sorted({(status, reason) for status, reason, _ in counts})
    lines = [
        [status, reason, *(counts[status, reason, group] or "" for group in corpus.GROUPS)]
        for status, reason in outcomes
    ]
    return page.table(["outcome", "reason", *corpus.GROUPS], lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelvec-truth-") as scratch:
        files = corpus.make(options.folder or Path(scratch) / "corpus")
        chosen = Path(scratch) / "videos"
        chosen.mkdir()
        for path in files.values():  # the corpus alone, whatever else lies in its folder
            (chosen / path.name).hardlink_to(path)
        run, code = embedded(chosen, Path(scratch) / "store")
        right, worst, wrong = compared(run, files)
        vectors = len(run.videos.numpy()[0])
        words = (
            f"{len(files)} files, exit code {code}: {vectors} vectors, {right} of them from the "
            f"frames of the reference, none of whose channels is more than {worst} levels of 255 "
            "off; the rest is refused, each with its reason.\n"
        )
        words += "".join(f"\nNot as it should be: {line}.\n" for line in wrong)
        text = f"{page.STORED}\n`python -m tests.frame_truth.stored --write`: {words}\n{table(run)}"
    print(text)
    if options.write:
        before = PAGE.read_text(encoding="utf-8").split(page.STORED)[0]
        PAGE.write_text(before + text, encoding="utf-8")
    sys.exit(1 if wrong or worst > verdicts.ROUNDING else 0)


if __name__ == "__main__":
    main()
