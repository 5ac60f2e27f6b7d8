"""Drills in which what a run reads is gone for a while, or a run stops half-way on purpose."""

import contextlib
import json
import shutil

from tests.drills.ground import Drill, must


@contextlib.contextmanager
def away(path):
    """`path` has another name meanwhile, as after a mount has gone."""
    elsewhere = path.with_name(path.name + "-away")
    path.rename(elsewhere)
    try:
        yield elsewhere
    finally:
        shutil.rmtree(path, ignore_errors=True)
        elsewhere.rename(path)


def nightly(ground, store):
    """What is done on schedule, to its end."""
    return ground.do("reembed", "--store", str(store))


def still_there(ground, store, rows):
    """Search answers, and no usable row is lost."""
    found = ground.do("search", "a red square", "--store", str(store), "--json")
    ground.expect(found, 0)
    hits = json.loads(found.stdout)["results"]
    must(hits, "search answers nothing")
    must(usable(ground, store) == rows, "rows are lost")


def usable(ground, store):
    """Rows of the embedding table in force."""
    tables = [a for a in ground.status(store)["artifacts"] if a["kind"] == "embeddings"]
    return tables[0]["rows"]


def videos_gone(ground, store):
    ground.grown(store)
    rows = usable(ground, store)
    with away(ground.videos):
        done = nightly(ground, store)
        must(done.returncode != 0, "the nightly ended with 0")
        must(str(ground.videos) in done.stderr, f"the folder is not named: {done.stderr[-400:]}")
        still_there(ground, store, rows)
    return "the nightly fails and names the folder; the old table answers"


def videos_empty(ground, store):
    ground.grown(store)
    rows = usable(ground, store)
    with away(ground.videos):
        ground.videos.mkdir()
        done = nightly(ground, store)
        must(done.returncode != 0, "the nightly ended with 0")
        still_there(ground, store, rows)
    return "the nightly fails; the old table answers"


def captions_gone(ground, store):
    ground.grown(store)
    rows = usable(ground, store)
    with away(ground.captions):
        done = ground.run(store)
        ground.expect(done, 2, str(ground.captions))
        still_there(ground, store, rows)
    return "exit 2 and the file's name; the old table answers"


def some_videos_gone(ground, store):
    """A quarter of the files is gone, the captions still name them.

    The whole folder is exchanged: a file that is renamed would have another change time.
    """
    ground.grown(store)
    rows = usable(ground, store)
    gone = sorted(ground.videos.iterdir())[::4]
    with away(ground.videos) as elsewhere:
        ground.videos.mkdir()
        for path in sorted(elsewhere.iterdir()):
            if ground.videos / path.name not in gone:
                (ground.videos / path.name).symlink_to(path)
        done = ground.run(store)
        must(done.returncode in (1, 3), f"exit {done.returncode}: {done.stderr[-400:]}")
        must(f"{len(gone)} of" in done.stderr, f"how many is not said: {done.stderr[-400:]}")
        still_there(ground, store, rows)
    return f"{len(gone)} rows would go: refused, exit {done.returncode}; the old table answers"


def partial_run(ground, store):
    """A second run, of another configuration, that ends before it has tables."""
    ground.grown(store)
    rows = usable(ground, store)
    part = ground.run(
        store,
        "--set",
        "name=half",
        "--set",
        "extract.sampling.count=1",
        "--stage",
        "ingest",
        "--stage",
        "extract",
    )
    ground.expect(part, 0)
    still_there(ground, store, rows)
    again = nightly(ground, store)
    ground.expect(again, 0)
    return "search and the nightly go on with the finished run"


DRILLS = (
    Drill("the mount with the videos is gone for a night", videos_gone, short=True),
    Drill("the folder with the videos is empty for a night", videos_empty),
    Drill("a quarter of the videos is gone", some_videos_gone),
    Drill("the captions file is gone", captions_gone),
    Drill("a partial run of another configuration", partial_run),
)
