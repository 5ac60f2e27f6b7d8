"""How what is around the work grows with the corpus: planning, ledgers, publications, readers.

    python -m tests.benchmarks.growth [--videos 10000 100000 1000000] [--at FOLDER] [--steps …]

Tables and ledgers only, generated, in parts of the sizes that the defaults make. Each step runs in
a process of its own that looks at a store of so many videos: CPU seconds (of its own processes,
too), the clock, peak MB, calls of the
store (each a request on an object store), bytes it reads and writes, and the law: the exponent p of
N^p between the sizes before and this one. A line that should cost what it adds has p near 0 in
calls; nothing may have 2. Fails nothing; `tests/tasks/runs/test_growth_laws.py` counts.

Ten million take half an hour to make: what is made `--at` a folder stays there and is used again,
by steps that publish nothing (one that does leaves another store behind).
"""

import argparse
import math
import os
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.file_marks import MARK_FIELDS, FileMark
from reelvec.storage.frames.reader import parts_with
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.records import CAPTION_SCHEMA, VIDEO_SCHEMA, Outcome
from reelvec.storage.tables import write_table
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.ingest import plan_ingest
from reelvec.tasks.corpus.ledger import summary
from reelvec.tasks.embedding.embed import CAPTIONS_A_VIDEO, plan_embed
from reelvec.tasks.embedding.reading import frames_of_clips
from reelvec.tasks.embedding.rows import CaptionRow, VideoRow
from reelvec.tasks.frames.extract import plan_extract
from reelvec.tasks.shards import PartContents, Shard, run_shard
from tests.benchmarks._processes import found_apart
from tests.benchmarks.planning import WEIGHTS, _hash, _peak, _table, _text, _videos

SIZES = (10_000, 100_000, 1_000_000)
CORPUS_VIDEOS, CORPUS_CAPTIONS = 512, 65_536  # rows a part, as ingest makes them
LISTED, CAPTIONED, FILES = "listed", "captioned", 1000  # files a folder


class PlainRoot(LocalRoot):
    """Writes without waiting for the disk, to make large stores quickly."""

    def put_new(self, path, data):
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            stream.write(data)

    def put_file(self, path, file):
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)


def config_of(folder, *, store=CAPTIONED):
    corpus = {"kind": "folder", "videos": str(folder / "videos")}
    if store == CAPTIONED:
        corpus["captions"] = str(folder / "captions.csv")
    return PipelineConfig.model_validate({"store": str(folder / store), "corpus": corpus})


def session_of(folder, *, store=CAPTIONED):
    config = config_of(folder, store=store)
    return Session(config, root=PlainRoot(config.store))


def _commit(artifact, table, shard, outcomes, data=None):
    with artifact.new_part(table=table, shard=shard, suffix=".parquet") as part:
        if data is None:
            part.path.write_bytes(b"stub")
        else:
            write_table(part.path, data, metadata={})
        return part.commit(rows=len(outcomes), outcomes=outcomes)


def generate(folder, *, videos):
    """Files of no blocks; a store of them where nothing is to do, and one with a caption each."""
    listed, captioned = (session_of(folder, store=store) for store in (LISTED, CAPTIONED))
    _list_files(folder, listed, videos=videos)
    _link_rows(listed, captioned)
    _write_captions(folder, captioned, videos=videos)
    for session in (listed, captioned):
        tables, options = session.embeddings(weights_hash=WEIGHTS), session.config
        rows = options.embed.shard_rows
        _fill(session.frames, "frames", _decoded, videos=videos, size=options.extract.shard_videos)
        _fill(tables, "videos", _embedded, videos=videos, size=rows)
        if session is captioned:
            size = rows * CAPTIONS_A_VIDEO
            _fill(tables, "captions", _embedded_captions, videos=videos, size=size)


def _list_files(folder, session, *, videos):
    above, add = str(folder / "videos"), []
    for start in range(0, videos, FILES):
        os.makedirs(f"{above}/{start // FILES:05d}")
    for start in range(0, videos, CORPUS_VIDEOS):
        numbers = range(start, min(start + CORPUS_VIDEOS, videos))
        ids = list(map(_listed_id, numbers))
        paths = [f"{above}/{video_id}.mp4" for video_id in ids]
        marks = list(map(_new_file, paths, numbers))
        columns = {name: [getattr(mark, name) for mark in marks] for name in MARK_FIELDS}
        columns |= {"video_id": ids, "path": paths, "status": ["ok"] * len(ids)}
        columns |= {"content_hash": list(map(_hash, numbers))}
        table = _table(VIDEO_SCHEMA, columns, len(ids))
        add.append(_commit(session.corpus, "videos", f"{start:x}", list(map(Outcome, ids)), table))
    session.corpus.publish(add=add)


def _link_rows(listed, captioned):
    """The same rows of the same files in the other store."""
    add, corpus = [], captioned.corpus
    for part in listed.corpus.latest().parts("videos"):
        with corpus.new_part(table="videos", shard=part.receipt.shard, suffix=".parquet") as new:
            os.link(part.path, new.path)
            add.append(new.commit(rows=part.entry.rows, outcomes=part.receipt.outcomes))
    corpus.publish(add=add)


def _write_captions(folder, session, *, videos):
    """In a file and in the store."""
    add = []
    with (folder / "captions.csv").open("w", encoding="utf-8") as file:
        file.write("video_id,caption\n")
        for start in range(0, videos, CORPUS_CAPTIONS):
            numbers = range(start, min(start + CORPUS_CAPTIONS, videos))
            ids, texts = [_listed_id(number) for number in numbers], list(map(_text, numbers))
            file.writelines(f"{row[0]},{row[1]}\n" for row in zip(ids, texts, strict=True))
            columns = {"caption_id": [f"{video_id}#0" for video_id in ids]}
            columns |= {"video_id": ids, "text": texts}
            table = _table(CAPTION_SCHEMA, columns, len(ids))
            outcomes = list(map(Outcome, columns["caption_id"]))
            add.append(_commit(session.corpus, "captions", f"{start:x}", outcomes, table))
    session.corpus.publish(add=add)


def _fill(artifact, table, rows_of, *, videos, size):
    """Parts of so many rows, of which no plan opens more than the receipt."""
    starts = range(0, videos, size)
    numbers = (range(start, min(start + size, videos)) for start in starts)
    add = [_commit(artifact, table, f"{some.start:x}", rows_of(some)) for some in numbers]
    artifact.publish(add=add)


def _decoded(numbers):
    return list(map(Outcome, map(_hash, numbers)))


def _embedded(numbers):
    rows = (VideoRow(_listed_id(n), _hash(n), _hash(n), "", "ok") for n in numbers)
    return [Outcome(row.key, detail=row.signature) for row in rows]


def _embedded_captions(numbers):
    rows = (CaptionRow(f"{_listed_id(n)}#0", _listed_id(n), "", "", _text(n)) for n in numbers)
    return [Outcome(row.key, detail=row.signature) for row in rows]


def _listed_id(number):
    return f"{number // FILES:05d}/{number:09d}"


def _new_file(path, number):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.ftruncate(descriptor, number + 1)
        return FileMark.of(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _listed(session):
    """Who looks at the store without captions."""
    return session_of(Path(session.config.store).parent, store=LISTED)


def nothing_to_ingest(session):
    """Every file is listed and looked at; there are no captions."""
    _nothing_to_ingest(_listed(session))


def nothing_to_ingest_with_captions(session):
    """The same with a caption file, which is read and compared."""
    _nothing_to_ingest(session)


def _nothing_to_ingest(session):
    plan = plan_ingest(session)
    assert (plan.new, plan.changed, plan.removed, plan.captions_touched) == (0, [], [], 0)


def nothing_to_extract(session):
    assert not plan_extract(session).shards


def nothing_to_embed(session):
    assert not plan_embed(session, weights_hash=WEIGHTS).shards


def ledger_in_short(session):
    found = summary(session.latest(session.corpus), frames=session.latest(session.frames))
    assert found.counts.ok == found.counts.planned and not found.failures


def one_part_more(session):
    """A part is published after a plan, as a night that found one new video does."""
    frames = session.frames
    plan_extract(session)
    receipt = _commit(frames, "frames", "new", [Outcome("a new clip")])
    with _counted() as counts:
        frames.publish(add=[receipt])
    return counts


def one_in_a_hundred(session):
    """The rows of one video in a hundred are replaced, after a plan."""
    frames = session.frames
    plan_extract(session)
    keys = list(map(_hash, range(0, session.latest(frames).rows_of("frames"), 100)))
    receipt = _commit(frames, "frames", "new", list(map(Outcome, keys)))
    with _counted() as counts:
        frames.publish(add=[receipt], supersede={"frames": keys})
    return counts


def by_a_stranger(session):
    """The same part, published by a process that has planned nothing."""
    receipt = _commit(session.frames, "frames", "new", [Outcome("another clip")])
    with _counted() as counts:
        Artifact.of(session.latest(session.frames)).publish(add=[receipt])
    return counts


def a_shard_to_embed(session):
    """What a shard does before it encodes, once its plan has named the parts."""
    keys = list(map(_hash, range(512)))
    part_of = parts_with(session.latest(session.frames), set(keys))
    ref = SnapshotRef.to(session.latest(session.frames))
    with _counted() as counts:
        assert len(frames_of_clips(ref, part_of=part_of)) == len(keys)
    return counts


def a_shard_to_write(session):
    """Ten shards in a row, that write nothing to speak of."""

    def write(path):
        path.write_bytes(b"stub")
        return PartContents(rows=0, schema="", outcomes=())

    with _counted() as counts:
        for number in range(10):
            shard = Shard(table="frames", name=f"{number:016x}", items=())
            run_shard(session.frames, shard, suffix=".arrow", write=write)
    return counts


def a_night_without_work(session):
    """All the plans of a run that finds nothing, on one session; there are no captions."""
    listed = _listed(session)
    _nothing_to_ingest(listed)
    _nothing_after_ingest(listed)


def a_night_without_work_with_captions(session):
    """The same where each video has a caption in a file."""
    nothing_to_ingest_with_captions(session)
    _nothing_after_ingest(session)


def _nothing_after_ingest(session):
    nothing_to_extract(session)
    nothing_to_embed(session)
    ledger_in_short(session)


def a_night_with_one_video(session):
    """One video is new, each stage has published it before the next plans; without captions."""
    listed, number = _listed(session), range(10**8, 10**8 + 1)
    plan_ingest(listed)
    for artifact, table, plan, made in (
        (listed.corpus, "videos", plan_extract, _videos(number)),
        (listed.frames, "frames", partial(plan_embed, weights_hash=WEIGHTS), [_decoded(number)]),
    ):
        add = [_commit(artifact, table, "one-more", *made)]
        listed.publish(artifact, add=add, supersede={}, note="one more")
        assert len(plan(listed).shards) == 1
    found = summary(listed.latest(listed.corpus), frames=listed.latest(listed.frames))
    assert found.counts.ok == found.counts.planned


STEPS = {
    step.__name__.replace("_", "-"): step
    for step in (
        nothing_to_ingest,
        nothing_to_ingest_with_captions,
        nothing_to_extract,
        nothing_to_embed,
        ledger_in_short,
        a_night_without_work,
        a_night_without_work_with_captions,
        a_shard_to_embed,
        a_shard_to_write,
        one_part_more,
        by_a_stranger,
        one_in_a_hundred,
        a_night_with_one_video,
    )
}


COUNTED_VERBS = (
    (LocalRoot, "read"),
    (LocalRoot, "exists"),
    (LocalRoot, "list"),
    (LocalRoot, "size"),
    (PlainRoot, "put_new"),
)


@contextmanager
def _counted():
    """CPU seconds, calls of the store's verbs, and the bytes read and written, of the block."""
    counts = Counter()
    plain = [(kind, verb, getattr(kind, verb)) for kind, verb in COUNTED_VERBS]

    def counting(verb, method):
        def call(self, *arguments):
            result = method(self, *arguments)
            moved = {"read": result, "put_new": arguments[-1]}
            counts["calls"] += 1
            counts["bytes"] += len(moved.get(verb) or b"")
            return result

        return call

    for kind, verb, method in plain:
        setattr(kind, verb, counting(verb, method))
    started, cpu = time.perf_counter(), _cpu_seconds()
    try:
        yield counts
    finally:
        counts["clock"], counts["cpu"] = time.perf_counter() - started, _cpu_seconds() - cpu
        for kind, verb, method in plain:
            setattr(kind, verb, method)


def _cpu_seconds():
    """Of this process and of those that it has ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _measure(step, folder):
    session, before = session_of(folder), _peak()
    with _counted() as whole:
        own = step(session)
    return (own or whole) | Counter(peak=_peak() - before)


def _law(name, before, now):
    """The exponent by which `name` grew between two sizes; "": there is nothing to compare."""
    if before is None or before[0] == now[0] or not before[1][name] or not now[1][name]:
        return ""
    return f"{math.log(now[1][name] / before[1][name]) / math.log(now[0] / before[0]):.1f}"


@contextmanager
def _made(at, *, videos):
    """The folder of the stores of so many videos; without a place for it, it is removed."""
    if at is None:
        with tempfile.TemporaryDirectory(prefix="reelvec-growth-") as name:
            generate(Path(name), videos=videos)
            yield Path(name)
        return
    folder = at / str(videos)
    done = folder / "made"
    if not done.exists():
        folder.mkdir(parents=True)
        generate(folder, videos=videos)
        done.touch()
    yield folder


def main(arguments=()):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=SIZES)
    parser.add_argument("--at", type=Path, help="keep what is made in this folder")
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), default=list(STEPS))
    options = parser.parse_args(arguments)
    print("| step | videos | CPU s | law | clock s | peak MB | calls | law | kB | law |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    last = dict.fromkeys(options.steps)
    for videos in options.videos:
        with _made(options.at, videos=videos) as folder:
            for step in options.steps:
                found = videos, found_apart(_measure, STEPS[step], folder)
                cpu, calls, size = (_law(what, last[step], found) for what in COUNTED)
                counts = found[1]
                print(
                    f"| {step.replace('-', ' ')} | {videos:,} | {counts['cpu']:.3f} |"
                    f" {cpu} | {counts['clock']:.2f} | {counts['peak'] / 1e6:.0f} |"
                    f" {counts['calls']:,} | {calls} |"
                    f" {counts['bytes'] / 1e3:,.0f} | {size} |",
                    flush=True,
                )
                last[step] = found


COUNTED = ("cpu", "calls", "bytes")

if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
