"""What a plan of the embedding tables costs on a large corpus: tables only, generated.

    python -m tests.benchmarks.planning --videos 10000000

Writes corpus tables, a frame ledger and the ledger of embedding tables for `--videos` videos with
a caption each; a part in a thousand of them is new, changed or gone. Then, in a process of its
own, `plan_embed` compares them. Prints its seconds and peak memory, beside what making one object
a row (how it was planned once) costs on the first hundred thousand. Absolute numbers are this
machine's; the goal is 10 million in two minutes and 4 GB on two cores.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from reelvec.configs import PipelineConfig
from reelvec.storage.records import CAPTION_SCHEMA, VIDEO_SCHEMA, Outcome
from reelvec.storage.tables import write_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.embedding.embed import plan_embed
from reelvec.tasks.embedding.rows import CaptionRow, VideoRow
from tests.benchmarks._processes import found_apart

PART = 65_536
EVERY = 1000  # one video of so many differs
WEIGHTS = "0" * 32


def config_of(folder):
    return PipelineConfig.model_validate(
        {
            "store": str(folder / "store"),
            "corpus": {"kind": "folder", "videos": str(folder)},
            "embed": {"shard_rows": 512},
        }
    )


def _hash(number):
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def _table(schema, columns, count):
    """A record table whose other columns hold defaults."""
    filled = {"double": 0.0, "int64": 0, "string": ""}
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        elif field.nullable and field.name.endswith("_seconds"):
            arrays.append(pa.nulls(count, field.type))
        else:
            arrays.append(pa.array([filled[str(field.type)]] * count, field.type))
    return pa.table(arrays, schema=schema)


def _commit(artifact, table, outcomes, data=None):
    """A receipt; the part of a ledger whose tables a plan never opens is a stub."""
    with artifact.new_part(table=table, shard=outcomes[0].key, suffix=".parquet") as part:
        if data is None:
            part.path.write_bytes(b"stub")
        else:
            write_table(part.path, data, metadata={})
        return part.commit(rows=len(outcomes), outcomes=outcomes)


def generate(folder, *, videos):
    """The store; new videos have frames, changed ones other bytes, gone ones only table rows."""
    config = config_of(folder)
    corpus, frames = Session(config).corpus, Session(config).frames
    tables = Session(config).embeddings(weights_hash=WEIGHTS)
    for artifact, table, rows in (
        (corpus, "videos", _videos),
        (corpus, "captions", _captions),
        (frames, "frames", _decoded),
        (tables, "videos", _embedded),
        (tables, "captions", _embedded_captions),
    ):  # published one by one: the receipts of a table are held until then
        starts = range(0, videos, PART)
        numbers = (range(start, min(start + PART, videos)) for start in starts)
        artifact.publish(add=[_commit(artifact, table, *rows(some)) for some in numbers])
    return config


def _ids(numbers):
    return [f"video-{number:09d}" for number in numbers]


def _text(number):
    return f"a caption that describes the video number {number} in a few words"


def _videos(numbers):
    ids = _ids(numbers)
    columns = {
        "video_id": ids, "path": ids, "split": ["train"] * len(ids),
        "content_hash": list(map(_hash, numbers)), "status": ["ok"] * len(ids),
    }  # fmt: skip
    return list(map(Outcome, ids)), _table(VIDEO_SCHEMA, columns, len(ids))


def _captions(numbers):
    ids = _ids(numbers)
    columns = {"caption_id": ids, "video_id": ids, "text": list(map(_text, numbers))}
    return list(map(Outcome, ids)), _table(CAPTION_SCHEMA, columns, len(ids))


def _decoded(numbers):
    return (list(map(Outcome, map(_hash, numbers))),)


def _embedded(numbers):
    rows = []
    for number, video_id in zip(numbers, _ids(numbers), strict=True):
        # new in the corpus, and another one gone
        key = f"gone-{number}" if number % EVERY == 1 else video_id
        bytes_then = _hash(number + 10**12 if number % EVERY == 2 else number)
        row = VideoRow(key, bytes_then, bytes_then, "train", "ok")
        rows.append(Outcome(key, detail=row.signature))
    return (rows,)


def _embedded_captions(numbers):
    captions = (
        CaptionRow(key, key, "train", "", _text(number))
        for number, key in zip(numbers, _ids(numbers), strict=True)
    )
    return ([Outcome(row.key, detail=row.signature) for row in captions],)


def _measure(work, folder):
    """Wall and CPU seconds, peak bytes, those before, and the result, of `work`."""
    before = _peak()
    started = time.perf_counter(), time.process_time()
    found = work(config_of(folder))
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    return *seconds, _peak(), before, found


def _peak():
    """Peak resident bytes of this process (ru_maxrss would count the parent's)."""
    facts = Path("/proc/self/status").read_text()
    return int(facts.partition("VmHWM:")[2].split()[0]) * 1024


def plan(config):
    found = plan_embed(Session(config), weights_hash=WEIGHTS)
    return found.new, len(found.stale), len(found.orphaned), found.new_captions


def objects(config):
    """One object a row: corpus and ledgers as they were read once."""
    corpus = read_corpus(Session(config))
    frames = Session(config).frames.latest().live("frames")
    tables = Session(config).embeddings(weights_hash=WEIGHTS).latest()
    return len(corpus.videos), len(frames), len(tables.live("videos")), len(tables.live("captions"))


def _row(name, videos, result):
    wall, cpu, peak, before, _ = result
    per_million = 1e6 / videos
    print(
        f"| {name} | {videos:,} | {wall:.1f} | {cpu:.1f} | {peak / 1e9:.2f} | "
        f"{cpu * per_million:.1f} | {(peak - before) / 1e9 * per_million:.2f} |"
    )


def main(arguments=()):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=1_000_000)
    videos = parser.parse_args(arguments).videos
    print("| planner | videos | seconds | CPU s | peak GB | CPU s a million | GB a million |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="reelvec-planning-") as name:
        small = Path(name) / "small"
        small.mkdir()
        generate(small, videos=100_000)
        _row("an object a row", 100_000, found_apart(_measure, objects, small))
        large = Path(name) / "large"
        large.mkdir()
        started = time.perf_counter()
        generate(large, videos=videos)
        made = time.perf_counter() - started
        size = sum(path.stat().st_size for path in large.rglob("*") if path.is_file())
        result = found_apart(_measure, plan, large)
        _row("by digests", videos, result)
        print(f"found {result[4]} (new, stale, orphaned, new captions); generated in {made:.0f} s,")
        print(f"{size / 1e9:.2f} GB of tables and ledgers")
        expected = len(range(1, videos, EVERY))
        if result[4] != (expected, len(range(2, videos, EVERY)), expected, 0):
            sys.exit("the plan is not what was generated")


if __name__ == "__main__":
    main(sys.argv[1:])
