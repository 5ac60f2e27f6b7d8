"""Source-level mutants of the code that decides vectors: each must be seen by a golden number.

    python -m tests.drills.source_mutants --mutants 260

One change at a time (a constant, a comparison, a sign, swapped arguments, a statement or a keyword
left out, a condition turned round) is made in a copy of a module's source, and the fixed inputs of
tests.support.vector_cases run through it in a forked process. Which changes are made follows from
the text of the code alone, so the same code has the same mutants. Prints a table, and every mutant
that survived; exits 1 where one did that is not in tests/drills/equivalent_mutants.py, with the
reason why it changes no vector.
"""

import argparse
import ast
import copy
import hashlib
import importlib.abc
import importlib.util
import os
import select
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.drills.equivalent_mutants import EQUIVALENT
from tests.support import vector_cases

ROOT = Path(__file__).parents[2]
FAMILIES = ("headers", "clip2video", "xclip", "adaclip", "frozen")
HEADS = ("heads", "heads_in_training")
MODULES = {
    "models.sampling.rules": ("sampling",),
    "models.sampling.originals": ("originals", "sampling"),
    "models.sampling.timeline": ("sampling",),
    "models.clip.preprocess": ("preprocess",),
    "models.clip.blocks": ("blocks", "starts", *FAMILIES),
    "models.clip.text": ("towers", "starts"),
    "models.clip.vision": ("towers", "starts"),
    "models.clip.towers": ("towers", "starts"),
    "models.clip.tokenizer": ("tokenizer",),
    "models.temporal": ("masks", "starts", *FAMILIES),
    "models.cross": ("headers", "starts", "xclip", "heads_in_training"),
    "models.headers": ("headers", "starts", "xclip", "heads_in_training"),
    "models.family": ("headers", "starts", "frozen", "encoding"),
    "models.features": ("features", "encoding"),
    "models.clip4clip": ("headers",),
    "models.clip2video.model": ("clip2video", "starts"),
    "models.xclip.model": ("xclip", "starts"),
    "models.xclip.rooms": ("xclip_scores",),
    "models.xclip.similarity": ("xclip_scores",),
    "models.adaclip.model": ("adaclip", "training", "starts"),
    "models.adaclip.aggregation": ("adaclip", "encoding"),
    "models.adaclip.policy": ("adaclip", "preprocess", "training"),
    "models.adaclip.mobilenet": ("mobilenet",),
    "models.teachclip": (*HEADS, "starts"),
    "models.xpool.model": HEADS,
    "models.xpool.pooling": HEADS,
    "models.xpool.baseline": HEADS,
    "models.drl.model": HEADS,
    "models.drl.interaction": HEADS,
    "models.drl.decorrelation": HEADS,
    "models.tokens.family": HEADS,
    "models.tokens.selection": HEADS,
    "models.tokens.shift": HEADS,
    "models.ts2net": HEADS,
    "models.ucofia.model": HEADS,
    "models.ucofia.similarity": HEADS,
    "models.frozen.clip": ("frozen", "starts"),
    "models.frozen.perception_towers": ("frozen",),
    "storage.records": ("identities",),
    "storage.video.transform": ("transform", "decoding"),
    "storage.video.contract": ("decoding", "damage", "kinds"),
    "storage.video.decoders": ("damage", "decoding", "kinds"),
    "storage.video.selective": ("decoding", "damage", "kinds"),
    "configs.decoding": ("decoding",),
    "tasks.decoding.worker": ("decoding", "damage"),
    "tasks.embedding.encoder": ("encoding",),
    "tasks.embedding.encoding": ("encoding",),
    "tasks.embedding.parts": ("tables",),
    "tasks.identity": ("identities",),
    "tasks.training.identity": ("identities",),
}
"""Modules that decide vectors -> cases that run them, quickest to tell first."""

NOT_VECTORS = {
    "recognise", "original_settings", "set_activation_checkpointing", "__repr__",
    "_check", "_check_header", "_check_picks", "header_options", "_refusal",
    "_describe", "_detail", "_changed", "_damaged", "_check_content", "_check_unchanged", "_stat",
    "sees_batch", "OriginalSettings", "missing", "macs", "token_macs", "image_macs", "score_bound",
    "CountDiffersError", "JobLimits", "FileLimits",
}  # fmt: skip
"""Functions that say, check or recognise, but decide no vector."""
TIMEOUT = 90.0
"""Seconds after which a mutant that does not end counts as seen."""


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    function: str
    line: int
    change: str
    before: str
    after: str
    within: str
    """The statement it stands in, and which of several alike it is."""
    tree: ast.AST = field(repr=False, compare=False)
    """Of the changed module."""

    @property
    def key(self):
        """What it is known by, wherever it stands in its file."""
        return (self.module, self.function, self.change, self.before, self.after, self.within)

    @property
    def rank(self):
        return hashlib.sha256("\0".join(self.key).encode()).hexdigest()


# making them

COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
}  # fmt: skip


NO_MATTER = {
    "strict": "lengths that are equal are compared",
    "progress": "a sign of life",
    "device": "where a tensor lies; a CPU has one place",
    "mode": "JSON comes of it either way",
    "ge": "a value that is refused",
    "gt": "a value that is refused",
    "le": "a value that is refused",
    "lt": "a value that is refused",
    "min_length": "a value that is refused",
    "bound": "a word to the type checker",
    "memory_format": "how a tensor lies in memory",
}
"""Keywords that decide no number."""
EITHER_WAY = {"transpose", "max", "min", "isinstance", "__setattr__", "getattr", "hasattr"}
"""Calls whose swapped arguments mean the same, or nothing at all."""


def changes(node):
    """(what, changed copy) of every change of this node alone."""
    if isinstance(node, ast.Constant):
        yield from constants(node.value)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        yield "comparison", replaced(node, ops=[COMPARED[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.BinOp) and type(node.op) in COMPUTED:
        yield "operator", replaced(node, op=COMPUTED[type(node.op)]())
    if isinstance(node, ast.BoolOp):
        yield "and/or", replaced(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield "sign", node.operand
    if isinstance(node, ast.If | ast.IfExp):
        yield "condition", replaced(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Call):
        yield from calls(node)
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "left out", ast.Pass()


def constants(value):
    if isinstance(value, bool):
        yield "flag", ast.Constant(not value)
    elif isinstance(value, int):
        yield "constant", ast.Constant(value + 1)
    elif isinstance(value, float):
        yield "constant", ast.Constant(value * 1.5 if value else 1.0)


def calls(node):
    first = [a for a in node.args[:2] if not isinstance(a, ast.Starred)]
    called = ast.unparse(node.func).rpartition(".")[2]
    if len(first) == 2 and called not in EITHER_WAY and ast.dump(first[0]) != ast.dump(first[1]):
        yield "swap", replaced(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for i, keyword in enumerate(node.keywords):
        if keyword.arg and keyword.arg not in NO_MATTER:
            rest = [*node.keywords[:i], *node.keywords[i + 1 :]]
            yield f"without {keyword.arg}", replaced(node, keywords=rest)


def replaced(node, **fields):
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class Walk(ast.NodeVisitor):
    """Finds places of a module that may be changed: (path, function, statement, node)."""

    def __init__(self):
        self.places = []
        self._path = []
        self._names = ["module"]
        self._statement = ""

    def generic_visit(self, node):
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases"):
                continue
            for index, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.AST):
                    self._path.append((name, index if isinstance(value, list) else None))
                    self.visit(child)
                    self._path.pop()

    def visit(self, node):
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if named and node.name in NOT_VECTORS:
            return
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.keyword) and node.arg in NO_MATTER:
            return
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ConfigDict":
            return
        if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
            for index, child in enumerate(node.orelse):
                self._path.append(("orelse", index))
                self.visit(child)
                self._path.pop()
            return
        if named:
            self._names.append(node.name)
        before = self._statement
        if isinstance(node, ast.stmt):
            self._statement = first_line(node)
        self.places.append((tuple(self._path), self._names[-1], self._statement, node))
        self.generic_visit(node)
        self._statement = before
        if named:
            self._names.pop()


def mutants_of(module):
    """Every mutant of a module."""
    text = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    walk = Walk()
    walk.visit(tree)
    alike = Counter()
    for path, function, within, node in walk.places:
        for change, changed in changes(node):
            what = (function, change, first_line(node), first_line(changed), within)
            alike[what] += 1
            nth = f" #{alike[what]}" if alike[what] > 1 else ""
            yield Mutant(
                module=module,
                function=function,
                line=node.lineno,
                change=change,
                before=what[2],
                after=what[3],
                within=within + nth,
                tree=put(tree, path, changed),
            )


def put(tree, path, changed):
    """A copy of the tree with another node at `path`; what is off the path is shared."""
    if not path:
        return changed
    (field, index), rest = path[0], path[1:]
    value = getattr(tree, field)
    if index is None:
        return replaced(tree, **{field: put(value, rest, changed)})
    items = list(value)
    items[index] = put(items[index], rest, changed)
    return replaced(tree, **{field: items})


def first_line(node):
    if isinstance(node, ast.stmt) and hasattr(node, "body"):
        node = replaced(node, body=[ast.Pass()])
        node = replaced(node, orelse=[]) if hasattr(node, "orelse") else node
    if hasattr(node, "decorator_list"):
        node = replaced(node, decorator_list=[])
    return ast.unparse(ast.fix_missing_locations(node)).partition("\n")[0][:90]


def chosen(count, *, modules=MODULES):
    """`count` mutants, of each module in turn, in an order that follows from their own text.

    A line that moves, or one that is added, leaves the others as they were.
    """
    queues = [sorted(mutants_of(m), key=lambda x: x.rank) for m in modules]
    found = []
    while len(found) < count and any(queues):
        found += [queue.pop(0) for queue in queues if queue]
    return found[:count]


# trying them


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module with a changed source."""

    def __init__(self, mutant):
        self._name = f"reelvec.{mutant.module}"
        self._source = ast.unparse(ast.fix_missing_locations(mutant.tree))

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self._name:
            return None
        file = ROOT / f"{self._name.removeprefix('reelvec.').replace('.', '/')}.py"
        return importlib.util.spec_from_file_location(fullname, file, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        code = compile(self._source, f"mutant of {module.__name__}", "exec")
        exec(code, module.__dict__)  # noqa: S102 - the drill runs changed copies of our own code


def warm(cases):
    """Import what children share, and little of ours; encode the videos that cases need."""
    import av
    import ftfy
    import numpy
    import PIL.Image
    import pyarrow.parquet
    import pydantic
    import torch
    import torch.utils.checkpoint

    import reelvec.configs.schema
    import reelvec.storage.commits.artifact
    import reelvec.storage.tables
    from tests.support import media

    del av, ftfy, numpy, PIL, pyarrow, pydantic, reelvec
    torch.set_num_threads(1)
    if not cases.isdisjoint({"decoding", "damage", "kinds"}):
        for kind in (*vector_cases.KINDS, "h264_fragmented_mp4"):
            media.video(kind)
        media.headless("mpeg4_b_avi", 3)
        media.painted()


def seen(mutant, cases):
    """What saw the mutant (None: no change): a case and a label, or an error; "" if nothing."""
    if mutant is not None:
        if f"reelvec.{mutant.module}" in sys.modules:  # and with it whatever imported it
            for name in [n for n in sys.modules if n.partition(".")[0] == "reelvec"]:
                del sys.modules[name]
        sys.meta_path.insert(0, Mutated(mutant))
    for case in cases:
        try:
            labels = vector_cases.differences(case)
        except Exception as error:
            return f"{case}: {type(error).__name__}"
        if labels:
            return f"{case}: {labels[0]}"
    return ""


@dataclass
class Child:
    """A forked process that tries one mutant."""

    mutant: Mutant
    pid: int
    pipe: int
    started: float


def start(mutant, cases):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            answer = seen(mutant, cases) or "survived"
        except BaseException as error:
            answer = type(error).__name__
        os.write(writing, answer.encode()[:400])
        os._exit(0)
    os.close(writing)
    return Child(mutant, pid, reading, time.monotonic())


def finish(child):
    """The child's answer; it has given one, ended, or is ended here."""
    try:
        ready, _, _ = select.select([child.pipe], [], [], 0)
        answer = os.read(child.pipe, 400).decode() if ready else "no end"
    finally:
        os.close(child.pipe)
    with suppress(ProcessLookupError):  # and the programs it started
        os.killpg(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    return answer or "the process ended"


def tried(mutants, *, workers=2, report=lambda *_: None):
    """(mutant, what saw it) of each; "survived" where nothing did."""
    waiting, running, answers = list(mutants), [], []
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop(0)
            running.append(start(mutant, MODULES[mutant.module]))
        ready, _, _ = select.select([child.pipe for child in running], [], [], 1.0)
        for child in list(running):
            late = time.monotonic() - child.started > TIMEOUT
            if child.pipe in ready or late:
                running.remove(child)
                answers.append((child.mutant, finish(child)))
                report(*answers[-1])
    return answers


def unexplained(answers):
    """Survivors without a reason."""
    return [m for m, answer in answers if answer == "survived" and m.key not in EQUIVALENT]


def table(answers):
    """Markdown: a row a module."""
    yield "| module | mutants | caught | change no vector | survived |"
    yield "| --- | --- | --- | --- | --- |"
    total = Counter()
    for module in MODULES:
        own = [(m, a) for m, a in answers if m.module == module]
        counts = Counter(
            "caught" if a != "survived" else "same" if m.key in EQUIVALENT else "survived"
            for m, a in own
        )
        total += counts
        if own:
            yield f"| `{module}` | {len(own)} | {counts['caught']} | {counts['same']} | " + (
                f"{counts['survived']} |"
            )
    yield f"| all | {len(answers)} | {total['caught']} | {total['same']} | {total['survived']} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=260)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--module", action="append", help="only of these modules")
    parser.add_argument("--verbose", action="store_true", help="a line a mutant")
    options = parser.parse_args()
    started = time.monotonic()
    modules = {m: MODULES[m] for m in options.module} if options.module else MODULES
    cases = {case for module in modules for case in MODULES[module]}
    warm(cases)
    unchanged = start(None, sorted(cases))
    select.select([unchanged.pipe], [], [])
    if (answer := finish(unchanged)) != "survived":
        sys.exit(f"the code as it is gives other numbers: {answer}")

    def say(mutant, answer):
        if options.verbose or (answer == "survived" and mutant.key not in EQUIVALENT):
            print(f"{mutant.line} {mutant.key}: {answer}", flush=True)

    answers = tried(chosen(options.mutants, modules=modules), workers=options.workers, report=say)
    print("\n".join(table(answers)))
    left = unexplained(answers)
    print(f"{len(left)} survived without a reason; {time.monotonic() - started:.0f} s")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
