"""Frame truth: which decoder shows which frames of which kind of file, and at what cost.

Every file of the corpus (tests.frame_truth.corpus) is asked for the frames on screen at 0 s, 1 s,
2 s, …, the default sampling, and for twelve from the first to the last. The reference is ffmpeg's
command line, which decodes everything, turns pictures upright and passes times through. A decoder
is right where all frames are the reference's, in its order and orientation; `auto` is the whole of
`reelvec extract`, its times and colours compared too. Kinds that must be refused are right when
nothing is shown.

    python -m tests.benchmarks.decode [--folder CORPUS] [--write] [KIND…]

`--write` publishes docs/frame-truth.md. `--write-table` writes the table `auto` reads instead. A
rival whose library is not installed is left out, and a line says so.
"""

import argparse
import contextlib
import importlib
import os
import random
import statistics
import tempfile
from pathlib import Path

import torch

from tests.benchmarks import _pricing
from tests.frame_truth import apart, corpus, page, reference, speed, verdicts
from tests.frame_truth.rivals import COUNT, RIVALS

PAGE = Path(__file__).parents[2] / "docs" / "frame-truth.md"


def judged(name, path, given, said):
    """One row of the table.

    Args:
        given: policy -> what auto made of the file.
        said: rival -> policy -> its answer.
    """
    kind = corpus.KINDS[name]
    truth = reference.decode(path, kind=kind)
    cells = {way: rivals_cell(answers, truth, kind) for way, answers in said.items()}
    faults, levels = [], 0
    for policy, ours in given.items():
        picks = verdicts.picks_of(truth, policy, COUNT)
        fault = verdicts.fault(ours, truth, refused=kind.refused, picks=picks)
        faults += [fault] if fault else []
        if not (fault or kind.refused or kind.resized):
            levels = max(levels, verdicts.levels_off(ours, truth, picks))
    right = "refused" if kind.refused else "right"
    auto = right if not faults else verdicts.grade(faults)
    frames = len(truth.one_a_second()) if truth and not kind.refused else 0
    reason = given["per_second"].reason
    return page.Row(
        name, {"auto": auto, **cells}, frames=frames, levels=levels, reason=reason, faults=faults
    )


def rivals_cell(answers, truth, kind):
    """The worse of a rival's two answers."""
    grades = []
    for policy, answer in answers.items():
        picks = verdicts.picks_of(truth, policy, COUNT)
        if answer.error:
            grades.append("refused" if kind.refused else "fails")
        elif kind.refused:
            grades.append("silent")
        else:
            same = list(answer.value) == [truth.seen[i] for i in picks]
            grades.append("right" if same else "wrong")
    order = ("silent", "wrong", "fails", "refused", "right")
    return min(grades, key=order.index)


def table_rows(files, ways):
    """The rows of all files; each decoder reads them in one process for each question."""
    paths, policies = list(files.values()), list(speed.POLICIES.values())
    ours = [verdicts.extracted(paths, policy=policy, count=COUNT) for policy in policies]
    asked = [
        apart.each(verdicts.numbers_of, [(getattr(RIVALS[way], ask), path) for path in paths])
        for way in ways
        for ask in speed.POLICIES
    ]
    for name, path in files.items():
        given = {p: next(results) for p, results in zip(policies, ours, strict=True)}
        answers = iter([next(each) for each in asked])
        said = {way: {policy: next(answers) for policy in policies} for way in ways}
        row = judged(name, path, given, said)
        page.show(name, row.cells)
        for fault in row.faults:
            print(f"    {fault}", flush=True)
        yield row


def measured(files, ways, rounds):
    """row -> way -> CPU seconds over auto's, medians of the rounds; None: not right."""
    rows = {}
    for name, (path, ask) in files.items():
        asked = {"auto": speed.auto(ask), **{way: getattr(RIVALS[way], ask) for way in ways}}
        truth = reference.decode(path)
        picks = verdicts.picks_of(truth, speed.POLICIES[ask], COUNT)
        wanted = [truth.seen[i] for i in picks]
        spent = {}
        for way in random.Random(name).sample(list(asked), len(asked)):
            answers = list(apart.each(verdicts.numbers_of, [(asked[way], path)] * rounds))
            right = all(not answer.error and answer.value == wanted for answer in answers)
            spent[way] = statistics.median(a.cpu_seconds for a in answers) if right else None
        rows[name] = {
            way: spent[way] / spent["auto"] if spent[way] and spent["auto"] else None
            for way in asked
        }
        page.show(name, rows[name])
    return rows


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.decode")
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--folder", help="where the corpus is, or is to be, made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="publish docs/frame-truth.md")
    parser.add_argument("--write-table", action="store_true")
    chosen = parser.parse_args(list(arguments))
    unknown = sorted(set(chosen.kinds) - set(corpus.KINDS))
    if unknown or (chosen.kinds and (chosen.write or chosen.write_table)):
        parser.error(f"no kind {unknown[0]}" if unknown else "the table needs all kinds")
    os.environ["OPENCV_LOG_LEVEL"] = "SILENT"
    torch.set_num_threads(1)
    if chosen.write_table:
        _pricing.write_table()
        return
    ways = [way for way, rival in RIVALS.items() if rival.here]
    for way in sorted(set(RIVALS) - set(ways)):
        print(f"{way} is left out: {RIVALS[way].module} is not installed")
    for way in ways:
        importlib.import_module(RIVALS[way].module)  # once, not in each process that forks off
    with contextlib.ExitStack() as stack:
        folder = chosen.folder or stack.enter_context(tempfile.TemporaryDirectory())
        files = corpus.make(folder, chosen.kinds or tuple(corpus.KINDS))
        rows = list(table_rows(files, ways))
        costs = measured(speed.files(folder), ways, chosen.rounds) if not chosen.kinds else {}
        print(page.summary(rows, costs))
        if chosen.write:
            old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
            rest = old[old.index(page.STORED) :] if page.STORED in old else ""
            text = page.written(rows, costs, corpus.GROUPS)
            PAGE.write_text(f"{text}\n{rest}" if rest else text, encoding="utf-8")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
