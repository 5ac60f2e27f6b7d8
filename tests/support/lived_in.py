"""A small store in which a video has left traces of every kind, and what is found of it there."""

import html
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reelvec.storage import layout
from reelvec.storage.commits.aliases import AliasRecord, move_alias
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.features import FeatureReader, write_features
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.frames.sound import ClipSound, SoundShardReader, SoundShardWriter
from reelvec.storage.places.part_cache import CacheOptions
from reelvec.storage.records import CAPTION_SCHEMA, VIDEO_SCHEMA, Caption, Outcome, records_to_table
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.storage.sealing import seal
from reelvec.storage.tables import read_table
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.scoring.evaluate import evaluate
from reelvec.tasks.searching.places import VideosById, frames_by_clip
from reelvec.tasks.searching.vectors import VectorIndex
from reelvec.tasks.training.items import Item, commit_items
from reelvec.tasks.training.kept import text_key
from reelvec.tasks.training.progress import Progress
from tests.support.small_store import WIDTH, column, commit, make_store, plain_videos

GONE = "v001"
"""The video that is forgotten; v004 has the same bytes, v002 a caption that says the same."""
SHARED = "what two of them say"
OLD = "what nobody says any more"


@dataclass
class LivedIn:
    """The store, and everything that is the video's alone."""

    store: object
    words: tuple
    """Texts, besides its id."""
    arrays: dict
    """Name -> bytes of its frames, vectors and features."""

    @property
    def uri(self):
        return self.store.config.store

    @property
    def root(self):
        return open_root(self.uri)


def lived_in(folder, *, uri=None, twin=False, trained=True):
    """Six videos.

    Args:
        folder: for the store.
        uri: of another place for it.
        twin: v004 has the bytes of v001, whose frames therefore are not its alone.
        trained: there are features, trainings and scores, too.
    """
    videos = plain_videos(6, train=2)
    if twin:
        videos[4] = replace(videos[4], content_hash=videos[1].content_hash)
    captions = [
        Caption(f"{v.video_id}-{n}", v.video_id, f"take {n} of clip {i}")
        for i, v in enumerate(videos)
        for n in range(2)
    ]
    for place in (3, 5):
        captions[place] = replace(captions[place], text=SHARED)
    listed = [v for v in videos if not twin or v.video_id != "v004"]
    store = make_store(
        folder, videos=listed, captions=[c for c in captions if c.video_id != "v004" or not twin],
        parts=2, store=uri,
    )  # fmt: skip
    root, words, arrays = store.root, ["take 0 of clip 1", OLD], {}
    if twin:
        _add_twin(store, videos[4], captions[8:10])
    _supersede(store)
    arrays["embedding"] = store.videos[GONE].tobytes()
    arrays["caption"] = store.captions[f"{GONE}-0"].tobytes()
    if not twin:
        frames = FrameReader(store.session.latest(store.session.frames))
        arrays["frames"] = frames.frames(key_of(videos[1])).tobytes()
        words.append(videos[1].content_hash)
    if not trained:
        _named(store)
        return LivedIn(store, tuple(words), arrays)
    _features(root, videos, captions, arrays, twin=twin)
    _sound(root, videos, arrays, twin=twin)
    items = [
        Item(f"train/{c.caption_id}", "train", c.video_id, key_of(videos[i // 2]), c.text)
        for i, c in enumerate(captions)
    ]
    _trainings(root, items)
    _scored(store)
    arrays["window"] = _windows(store)
    _beside(root, words)
    _named(store)
    return LivedIn(store, tuple(words), arrays)


def _add_twin(store, video, captions):
    session = store.session
    table = records_to_table([video], schema=VIDEO_SCHEMA)
    commit(session.corpus, [("videos", table, [Outcome(video.video_id)], "twin")])
    rows = records_to_table(captions, schema=CAPTION_SCHEMA)
    outcomes = [Outcome(c.caption_id) for c in captions]
    commit(session.corpus, [("captions", rows, outcomes, "twin")])


def _supersede(store):
    """A caption as it was before, which no snapshot but the first has, and a part of nobody's."""
    corpus = store.session.corpus
    old = records_to_table([Caption("old", GONE, OLD)], schema=CAPTION_SCHEMA)
    commit(corpus, [("captions", old, [Outcome("old")], "old")])
    commit(corpus, [], supersede={"captions": ["old"]})
    vectors = {
        "video_id": pa.array([GONE], pa.string()),
        "embedding": column([store.videos[GONE]], np.float32),
    }
    with store.embeddings.artifact.new_part(table="videos", shard="late", suffix=".parquet") as new:
        pq.write_table(pa.table(vectors), new.path)
        new.commit(rows=1, outcomes=[Outcome(GONE)])
    killed = f"{store.embeddings.artifact.folder}/parts/videos-x-{'0' * 16}.parquet"
    store.root.put_new(killed, b"half a part of " + store.videos[GONE].tobytes())


def _sound(root, videos, arrays, *, twin):
    artifact = Artifact.open(root, kind="audio", identity={"kind": "audio"})
    rng = np.random.default_rng(22)
    keys = list(dict.fromkeys(key_of(video) for video in videos))
    sounds = {key: rng.standard_normal(90).astype(np.float32) for key in keys}
    with artifact.new_part(table="audio", shard="all", suffix=".arrow") as new:
        with SoundShardWriter(new.path, rate=8_000) as writer:
            for key, samples in sounds.items():
                writer.add(ClipSound(key, samples, 0.0))
        made = new.commit(rows=len(keys), outcomes=[Outcome(key) for key in keys])
    artifact.publish(add=[made])
    if not twin:
        arrays["sound"] = sounds[key_of(videos[1])].tobytes()


def _features(root, videos, captions, arrays, *, twin):
    artifact = Artifact.open(root, kind="features", identity={"kind": "features"})
    rng = np.random.default_rng(1)
    keys = {
        "videos": list(dict.fromkeys(key_of(v) for v in videos)),
        "captions": list(dict.fromkeys(text_key(c.text) for c in captions)),
    }
    made = []
    for table, names in keys.items():
        rows = rng.standard_normal((len(names), WIDTH)).astype(np.float32)
        data = pa.table({"key": pa.array(names, pa.string()), "tower": column(rows, np.float32)})
        with artifact.new_part(table=table, shard="all", suffix=".arrow") as new:
            write_features(new.path, data, metadata={})
            made.append(new.commit(rows=len(names), outcomes=[Outcome(name) for name in names]))
        if table == "captions":
            arrays["text tower"] = rows[names.index(text_key("take 0 of clip 1"))].tobytes()
        elif not twin:
            arrays["clip tower"] = rows[names.index(key_of(videos[1]))].tobytes()
    artifact.publish(add=made)


def _trainings(root, items):
    """One that is finished, and one that was killed."""
    for name, steps in (("finished", 0), ("begun", 9)):
        artifact = Artifact.open(root, kind="checkpoint", identity={"name": name})
        commit_items(artifact, items)
        progress = Progress(steps_per_epoch=3, total_steps=steps).model_dump_json()
        extra = {"progress": progress, "weights_hash": "ab" * 16, "seconds": 1.0}
        with artifact.new_part(table="checkpoints", shard="step-0", suffix=".safetensors") as new:
            new.path.write_bytes(b"weights")
            made = new.commit(rows=1, outcomes=[Outcome("step-0")], extra=extra)
        artifact.publish(add=[made])


def _windows(store):
    """A window of it and of another video, and that it failed under its other name, as it were."""
    names, vectors = [GONE, "v002"], np.random.default_rng(2).standard_normal((2, WIDTH))
    keys = [f"{name}'s bytes@0-2" for name in names]
    rows = pa.table(
        {
            "window_id": pa.array(keys),
            "video_id": pa.array(names),
            "start_seconds": pa.array([0.0, 0.0]),
            "embedding": column(vectors, np.float32),
        }
    )
    outcomes = [*map(Outcome, keys), Outcome(f"@{GONE}", status="quarantined")]
    store.embeddings = commit(store.embeddings.artifact, [("windows", rows, outcomes, "all")])
    return vectors[0].astype(np.float32).tobytes()


def _scored(store):
    """An evaluation with its report, and what search has derived."""
    options = store.config.evaluate.model_copy(update={"bootstrap": 0})
    session = store.session
    evaluation = evaluate(session, store.embeddings, corpus=store.corpus, options=options).snapshot
    with Artifact.of(evaluation).new_part(table="report", shard="all", suffix=".html") as new:
        new.path.write_text(f"<p>{html.escape(GONE)}: take 0 of clip 1</p>")
        page = new.commit(rows=1, outcomes=[Outcome("report")])
    Artifact.of(evaluation).publish(add=[page])
    VectorIndex.of(store.embeddings)
    VideosById(session.latest(session.corpus))
    frames_by_clip(session.latest(session.frames))


def _beside(root, words):
    """Logs, files of a killed writer, and a part that a repair set aside."""
    logs = root.local_folder / "logs"
    logs.mkdir(parents=True)
    (logs / "train-a.log").write_text(f"clip of {GONE} skipped\n")
    (logs / "train-b.log").write_text("clip of v002 skipped\n")
    (root.local_folder / layout.REPORTS).mkdir()
    (root.local_folder / layout.REPORTS / "latest.html").write_text(GONE)
    root.put_new(layout.damaged("frames/x/parts/y.arrow"), b"half of take 0 of clip 1")
    root.put_new(f"{layout.SCRATCH}/1-{'0' * 16}.parquet", GONE.encode())
    root.put_new(layout.gate("20260101T000000000000", "ab", suffix=".html"), GONE.encode())
    root.put_new(layout.gate("20260101T000000000000", "cd", suffix=".html"), b"nobody")


def _named(store):
    """A run, a tag on its tables as they are, one on tables that never held it, and a pin."""
    session = store.session
    made = [session.latest(session.corpus), session.latest(session.frames), store.embeddings]
    places = {one.artifact.kind: (one.artifact.fingerprint, one.number) for one in made}
    run = RunRecord(name="fake", config=store.config.model_dump(mode="json"), artifacts=places,
                    started="2026-01-01T00:00:00+00:00")  # fmt: skip
    identifier = write_run(store.root, run)
    other = Artifact.open(store.root, kind="embeddings", identity={"corpus": "another"})
    rows = pa.table(
        {"video_id": pa.array(["x"]), "embedding": column([np.ones(WIDTH)], np.float32)}
    )
    apart = commit(other, [("videos", rows, [Outcome("x")], "all")])
    for alias, artifacts in (
        ("current", places),
        ("apart", {"embeddings": (other.fingerprint, apart.number)}),
    ):
        record = AliasRecord(
            alias=alias, change="tagged", run=identifier, name="fake", artifacts=artifacts
        )
        move_alias(store.root, record)
    folder = store.embeddings.artifact.folder
    store.root.put_new(layout.pin(folder, store.embeddings.number), seal({"pinned": 1}))


def found_in(lived, *, words=(GONE,)):
    """Files that hold anything of it: as bytes, and as what Parquet says they hold."""
    texts = [text.encode() for text in (*words, *lived.words)]
    sought = {name: data[:64] for name, data in lived.arrays.items()}
    found = []
    for name, data in _files(lived.root):
        held = [text.decode() for text in texts if text in data]
        held += [what for what, some in sought.items() if some in data]
        if name.endswith(".parquet") and data.startswith(b"PAR1"):
            said, numbers = _parquet(data)
            held += [text.decode() for text in texts if text in said]
            held += [what for what, some in sought.items() if some in numbers]
        found += [(name, what) for what in dict.fromkeys(held)]
    return sorted(found)


def _files(root):
    """Every file of the store, what lies on this machine beside it, and the cache of copies."""
    listed = [path for path, _, is_file in root.walk() if is_file]
    yield from ((path, root.read(path)) for path in listed)
    for folder in (root.local_folder, CacheOptions.from_environment().folder):
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_file():
                yield str(path), path.read_bytes()


def _parquet(data):
    table = pq.read_table(pa.BufferReader(data))
    said, numbers = [], []
    for field in table.schema:
        values = table.column(field.name).combine_chunks()
        if pa.types.is_string(field.type):
            said += [str(one).encode() for one in values.to_pylist()]
        elif pa.types.is_fixed_size_list(field.type):
            numbers.append(values.flatten().to_numpy(zero_copy_only=False).tobytes())
    return b"\0".join(said), b"\0".join(numbers)


def rows_of(root):
    """(kind, fingerprint, table) -> {key: bytes of the row}, in order, of what is in force."""
    rows = {}
    for artifact in Artifact.all(root):
        latest = artifact.latest()
        for table in latest.tables if latest else ():
            place = artifact.kind, artifact.fingerprint, table
            if artifact.kind == "frames":
                reader = FrameReader(latest)
                keys = [row.key for row in latest.outcomes(table) if row.status != "quarantined"]
                rows[place] = {
                    key: reader.frames(key).tobytes() + reader.pts(key).tobytes() for key in keys
                }
            elif artifact.kind == "audio":
                shards = [SoundShardReader(part.path) for part in latest.parts(table)]
                sounds = [shard.sound(i) for shard in shards for i in range(len(shard.keys))]
                rows[place] = {sound.clip_key: sound.samples.tobytes() for sound in sounds}
            elif artifact.kind == "features":
                reader = FeatureReader(latest, table)
                keys = [row.key for row in latest.outcomes(table)]
                rows[place] = {k: reader.gather([k])["tower"].tobytes() for k in keys}
            elif table not in ("checkpoints", "report"):
                for row in read_table(latest, table).to_pylist():
                    key, *values = row.values()
                    rows.setdefault(place, {})[key] = repr(values)
    return rows
