"""The page over 100,000 videos, and the report of 1,000: seconds a request, bytes a file.

``python -m tests.benchmarks.page [--rows 100000] [--architecture ViT-B/32]``. A small real run is
made (random weights), and rows are published beside its own until its table has `--rows`. Requests
go through the whole application (guard, JSON), in this process; wall and CPU seconds, the median
and the largest of twenty different texts, once warm. The report's frames are noise at every scale,
as pictures of the world have it.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from starlette.testclient import TestClient

import reelvec
from reelvec.configs import PipelineConfig
from reelvec.flows.page.addresses import site
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import VIDEO_SCHEMA, Outcome, Video, records_to_table
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.tasks.reports.report import report
from tests.drills.bitflips import draw, run_again
from tests.support import small_store
from tests.support.small_store import make_store, plain_captions, plain_videos
from tests.tasks.reports.test_report import sources_of

PART = 25_000
TEXTS = 20
DRAWN = 16


def small_run(folder, *, architecture):
    """A run of four videos."""
    drawn, write = draw(folder, videos=4)
    write(drawn)
    config = PipelineConfig.model_validate(
        {
            "store": str(folder / "store"),
            "corpus": {
                "kind": "folder",
                "videos": str(folder / "videos"),
                "captions": str(folder / "captions.csv"),
            },
            "extract": {"size": 224 if architecture != "tiny" else 64},
            "model": {"architecture": architecture, "max_frames": 2},
            "train": {"epochs": 0},
        }
    )
    run_again(config)
    return reelvec.open(config.store)


def grow(store, *, rows):
    """Publish made-up videos beside the run's own."""
    root, run, rng = open_root(store.uri), store.run(), np.random.default_rng(0)
    made = {kind: run.artifacts[kind].fingerprint for kind in ("corpus", "embeddings")}
    corpus, embeddings = (Artifact.find(root, kind=k, fingerprint=f) for k, f in made.items())
    schema = run.videos.schema
    width = schema.field("embedding").type.list_size
    for start in range(0, rows, PART):
        names = [f"video{row:08d}" for row in range(start, min(start + PART, rows))]
        videos = [
            Video(name, f"/videos/{name}.mp4", split="test", content_hash=f"{start + n:032x}")
            for n, name in enumerate(names)
        ]
        vectors = rng.standard_normal((len(names), width)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        values = pa.array(vectors.reshape(-1)).cast(schema.field("embedding").type.value_type)
        known = {
            "video_id": pa.array(names, pa.string()),
            "split": pa.array(["test"] * len(names), pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(values, width),
        }
        columns = [
            known[field.name].cast(field.type) if field.name in known else empty(field, len(names))
            for field in schema
        ]
        publish(corpus, records_to_table(videos, schema=VIDEO_SCHEMA), names)
        publish(embeddings, pa.table(columns, schema=schema), names)


def empty(field, count):
    text = pa.types.is_string(field.type)
    return pa.repeat(pa.scalar("", field.type) if text else pa.scalar(0).cast(field.type), count)


def publish(artifact, table, names):
    with artifact.new_part(table="videos", shard="made", suffix=".parquet") as part:
        write_table(part.path, table, metadata=identity_metadata(artifact.identity))
        receipt = part.commit(rows=table.num_rows, outcomes=[Outcome(name) for name in names])
    artifact.publish(add=[receipt])


def requests(page, addresses):
    """Wall and CPU seconds of each request."""
    taken = []
    for address in addresses:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = page.get(address)
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
        if answer.status_code != 200:
            raise SystemExit(f"{address}: {answer.text}")
    return taken


def line(name, taken):
    walls, cpus = zip(*taken, strict=True)
    print(
        f"| {name} | {statistics.median(walls) * 1e3:,.0f} ms | {max(walls) * 1e3:,.0f} ms |"
        f" {statistics.median(cpus) * 1e3:,.0f} ms |",
        flush=True,
    )


def page_lines(*, rows, architecture):
    with tempfile.TemporaryDirectory() as folder:
        store = small_run(Path(folder), architecture=architecture)
        grow(store, rows=rows)
        page = TestClient(site(reelvec.open(store.uri)), base_url="http://127.0.0.1:1")
        print(f"| {rows:,} videos, {architecture} | median | largest | CPU, median |")
        print("| --- | --- | --- | --- |")
        words = [f"/api/search?text=a+red+circle+number+{n}" for n in range(TEXTS)]
        line("first text query of the process, and of the table", requests(page, words[:1]))
        line("text query", requests(page, words))
        likes = [f"/api/search?like=video{n:08d}" for n in range(TEXTS)]
        line("more like this", requests(page, likes))
        where = "where=%5B%5B%22path%22,%22contains%22,%227%22%5D%5D"
        line("text query with a filter", requests(page, [f"{one}&{where}" for one in words]))
        line("first map", requests(page, ["/api/map"]))
        line("map", requests(page, ["/api/map"] * 5))


def noise_of_all_scales(rng, size):
    """One frame, as `small_store` draws four: noise whose coarse parts are the stronger ones."""
    picture = np.zeros((size, size, 3))
    for scale in (1, 2, 4, 8, 16, 32):
        fine = rng.standard_normal((-(-size // scale), -(-size // scale), 3))
        picture += np.kron(fine, np.ones((scale, scale, 1)))[:size, :size] * scale
    low, high = picture.min(), picture.max()
    return np.stack([((picture - low) / (high - low) * 255).astype(np.uint8)] * 4)


def report_bytes(videos):
    rng, pictures = np.random.default_rng(0), []
    for _ in range(DRAWN):
        pictures.append(noise_of_all_scales(rng, 96))
    again = itertools.cycle(pictures)
    small_store._picture = lambda rng, size: next(again)
    with tempfile.TemporaryDirectory() as folder:
        listed = plain_videos(videos, train=0)
        store = make_store(
            Path(folder), videos=listed, captions=plain_captions(listed, each=20), size=96
        )
        started = time.perf_counter()
        page = report(store.session, sources_of(store)).path
        seconds = time.perf_counter() - started
        print(
            f"report of {videos:,} videos with 20 captions each:"
            f" {page.stat().st_size / 1e6:.1f} MB, drawn in {seconds:.1f} s"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--architecture", default="ViT-B/32")
    parser.add_argument("--videos", type=int, default=1000, help="Of the report; 0: none.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.videos:
        report_bytes(options.videos)
    page_lines(rows=options.rows, architecture=options.architecture)
