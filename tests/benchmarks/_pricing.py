"""What each decoder of ours costs on the kinds of file it is right on: the table `auto` reads.

``python -m tests.benchmarks.decode --write-table`` writes it: verdicts on the frames of the tests'
own files, costs from 12 of 250 frames of larger ones, in CPU seconds (user and system, child
processes included) as multiples of `selective`'s, medians of interleaved rounds.
"""

import math
import random
import resource
import statistics
import tempfile
from collections import defaultdict

import numpy as np

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.video.contract import FrameSink, Reading
from reelvec.storage.video.decoder_table import (
    TABLE_PATH,
    DecoderTable,
    Verdict,
    kind_of,
)
from reelvec.storage.video.decoders import READERS
from reelvec.storage.video.probe import probe
from tests.storage.video.contracts import found, is_right, notices_damage
from tests.support import media

FRAMES, TARGETS, ROUNDS = 250, 12, 3


def through(reader):
    """A reader of ours on its own, its probe included."""

    def way(path, picks):
        file, options = probe(path), FrameOptions()
        sink = FrameSink(picks, options=options, allocate=lambda shape: np.zeros(shape, np.uint8))
        reader(Reading(path=file.path, probe=file, sink=sink, options=options))
        return sink.frames

    return way


def cpu_seconds():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def measure(path, rounds=ROUNDS):
    """reader -> multiple of selective's CPU seconds for twelve frames, median of the rounds."""
    picks = np.linspace(0, probe(path).frames_counted - 1, TARGETS, dtype=np.int64)
    ways = {reader: through(READERS[reader]) for reader in READERS}
    spent = {way: [] for way in ways}
    for number in range(rounds):
        for way in random.Random(number).sample(list(ways), len(ways)):
            before = cpu_seconds()
            try:
                ways[way](path, picks)
            except VideoError:  # it is not right on this kind: no price
                spent[way].append(math.nan)
                continue
            spent[way].append(cpu_seconds() - before)
    base = spent["selective"]
    return {
        way: statistics.median(mine / ours for mine, ours in zip(spent[way], base, strict=True))
        for way in ways
    }


def table_of(folder, prices):
    """The table: verdicts of the tests' files, which share a kind only if all are right."""
    seen = defaultdict(list)
    for name in media.KINDS:
        seen[kind_of(found(name))].append(name)
    verdicts = {}
    for kind, names in seen.items():
        right = {d for d in READERS if all(is_right(d, name) for name in names)}
        cost = {d: statistics.median(prices[name][d] for name in names) for d in right}
        verdicts[kind] = Verdict(right=frozenset(right), cost=cost)
    noticing = frozenset(d for d in READERS if notices_damage(d, folder))
    return DecoderTable(notices_damage=noticing, verdicts=verdicts), seen


def write_table(path=TABLE_PATH):
    """Price our readers, find out on which kinds of file they are right, write both."""
    frames = media.painted(FRAMES, width=640, height=360)
    with tempfile.TemporaryDirectory() as folder:
        prices = {}
        for name in media.KINDS:
            prices[name] = measure(media.encode_kind(folder, name, frames=frames))
        table, seen = table_of(folder, prices)
    table.write(path, seen=seen)
    print(f"wrote {path}: {len(table.verdicts)} kinds of file")
