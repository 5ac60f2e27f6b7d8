"""The stage audio: what is kept of sound, and a run of a model that hears (random weights)."""

import shutil

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

import reelvec
from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.schema import STAGES
from reelvec.errors import RequestError
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames.sound import SoundReader, SoundShardReader
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ledger import sound_failures
from reelvec.tasks.frames import audio
from reelvec.tasks.runs.plan import plan_pipeline
from reelvec.tasks.runs.preflight import check_config
from reelvec.tasks.runs.settled import choose_stages
from reelvec.tasks.training.train import train
from reelvec.tasks.upkeep.compact import compact_store
from reelvec.tasks.upkeep.forget import forget
from reelvec.tasks.weights.choice import choose_weights
from tests.support import media, native_models
from tests.support.engine_free import run_audio, run_embed, run_extract, run_ingest

pytest.importorskip("transformers", minversion="5.0", reason="PE-AV is newer")

SOUND = ("high", "low", "twin")
REASONS = {"broken": "damaged", "silent": "no_audio_stream"}


def film(path, sound=None, *, picture="testsrc"):
    """A second of pictures, 8 a second, and of sound."""
    inputs = ("-f", "lavfi", "-i", f"{picture}=size=48x32:rate=8:duration=1")
    heard = ("-f", "lavfi", "-i", f"{sound}:d=1", "-c:a", "aac") if sound else ()
    media.ffmpeg(*inputs, *heard, "-c:v", "mpeg4", "-q:v", "5", str(path))
    return path


def broken(path, whole):
    """The film with other bytes in place of the packets of its sound."""
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        packets = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    for position, size in packets[2:]:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    high = film(folder / "high.mp4", "sine=f=2000")
    (folder / "twin.mp4").write_bytes(high.read_bytes())
    low = film(folder / "low.mp4", "sine=f=110", picture="testsrc2")
    film(folder / "silent.mp4", picture="rgbtestsrc")
    broken(folder / "broken.mp4", low)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pe-av")
    native_models.pe_video(folder, hears=True)
    return folder


def config_of(videos, weights, store, **options):
    chosen = choose_weights(f"hf:{weights}", store="unused")
    document = chosen.document({"kind": "folder", "videos": str(videos)}, name="heard")
    sound = document["extract"].get("sound", {}) | options
    document["extract"] |= {"shard_videos": 2, "sound": sound}
    document["model"]["options"] = {"hears": True}
    return PipelineConfig.model_validate(document | {"store": str(store)})


def rows_of(snapshot, table="videos"):
    parts = [pq.read_table(part.path).to_pylist() for part in snapshot.parts(table)]
    return {row["video_id"]: row for part in parts for row in part}


def ran(config):
    """All stages, recorded as the run `heard`: the plan of sound, its snapshot, and the tables."""
    check_config(config)
    run_ingest(config)
    run_extract(config)
    plan, sound = run_audio(config)
    train(Session(config))
    _, tables = run_embed(config)
    root = open_root(config.store)
    made = {a.kind: (a.fingerprint, a.latest().number) for a in Artifact.all(root)}
    plain, started = config.model_dump(mode="json"), "2026-01-01T00:00:00+00:00"
    write_run(root, RunRecord("heard", plain, artifacts=made, started=started))
    return plan, sound, tables


@pytest.fixture(scope="module")
def done(videos, weights, tmp_path_factory):
    """A whole run."""
    config = config_of(videos, weights, tmp_path_factory.mktemp("store"))
    plan, sound, tables = ran(config)
    return config, plan, sound, tables


def test_every_clip_has_sound_or_a_reason(done):
    config, plan, sound, _ = done
    assert plan.clips == 4, "two videos of one content are one clip"
    counts = sound.counts()
    assert (counts.planned, counts.ok, counts.quarantined) == (4, 2, 2)
    session = Session(config)
    rows = sound_failures(session.latest(session.corpus), audio=sound)
    assert {row.video_id: str(row.reason) for row in rows} == REASONS
    assert {row.stage for row in rows} == {"audio"}
    note = audio.audio_note(sound)
    assert "2 of 4 clips have no sound" in note and "1 no_audio_stream" in note
    assert {row.video_id for row in reelvec.open(config.store).run().failures(sound=True)} == {
        *REASONS
    }
    assert all(row.status == "ok" for row in reelvec.open(config.store).run().ledger())
    assert plan_pipeline(session, stages=["audio", "embed"]) == []


def test_tables_have_vectors_of_what_is_heard_and_null_without(done):
    tables = rows_of(done[3])
    assert set(tables) == {*SOUND, *REASONS}
    for name in ("audio", "audio_video"):
        assert {key for key, row in tables.items() if row[name] is not None} == set(SOUND)
        vectors = {key: np.array(tables[key][name]) for key in SOUND}
        assert all(abs(np.linalg.norm(x) - 1) < 1e-3 for x in vectors.values())
        assert (vectors["high"] == vectors["twin"]).all()
        assert np.abs(vectors["high"] - vectors["low"]).max() > 1e-3
    assert all(row["embedding"] is not None for row in tables.values())


def test_search_by_a_column_of_sound_gives_films_with_sound(done):
    run = reelvec.open(done[0].store).run()
    assert len(run.search("a tone")) == 5
    for column in ("audio", "audio_video"):
        with run.searches(column=column) as searches:
            found = searches.text("a tone")
            assert {row.video_id for row in found.rows} == set(SOUND)
            assert found.videos == 3 and not found.notes[1:]
            text = run.encode_texts(["a tone"], column=column)[0].astype(np.float64)
            vectors = rows_of(done[3])
            for row in found.rows:
                assert row.score == pytest.approx(text @ vectors[row.video_id][column], abs=2e-3)
            assert {row.video_id for row in searches.like("high").rows} == {"twin", "low"}
            with pytest.raises(RequestError, match="no vector of the video"):
                searches.like("silent")
            with pytest.raises(RequestError, match="pictures alone"):
                searches.file("x.mp4")
    with pytest.raises(RequestError, match=r"no column \(loud\).*embedding, audio, audio_video"):
        run.searches(column="loud")


def test_exports_keep_what_is_null(done, tmp_path):
    run = reelvec.open(done[0].store).run()
    run.export(tmp_path / "parquet", to="parquet")
    (file,) = (tmp_path / "parquet").rglob("videos*.parquet")
    rows = {row["video_id"]: row for row in pq.read_table(file).to_pylist()}
    assert {key for key, row in rows.items() if row["audio"] is None} == set(REASONS)
    run.export(tmp_path / "numpy", to="numpy")
    vectors = np.load(tmp_path / "numpy" / "videos.audio.npy")
    ids = np.load(tmp_path / "numpy" / "videos.ids.npy").tolist()
    assert {key for key, x in zip(ids, vectors, strict=True) if np.isnan(x).all()} == set(REASONS)


def test_an_interrupted_stage_finds_what_it_had_done(videos, weights, tmp_path):
    config = config_of(videos, weights, tmp_path)
    run_ingest(config)
    plan = audio.plan_audio(Session(config))
    assert len(plan.shards) == 2
    audio.audio_shard(plan.target, plan.shards[1], extract=config.extract)  # then: kill -9
    resumed, sound = run_audio(config)
    assert [shard.name for shard in resumed.shards] == [plan.shards[0].name]
    assert len(resumed.adopted) == 1 and sound.counts().planned == 4
    again, _ = run_audio(config, retry=lambda row: row.reason == "damaged")
    assert again.clips == 1 and again.done == {"new": 0, "again": 1}


def test_upkeep_knows_sound(done, tmp_path):
    """Merged, forgotten, verified: on a copy of the store."""
    config = done[0]
    store = shutil.copytree(config.store, tmp_path / "store")
    config = config.model_copy(update={"store": str(store)})
    merged = compact_store(str(store), kind="audio")
    assert [(one.parts_before, one.parts_after) for one in merged] == [(2, 1)]
    before = done[2]
    (part,) = Session(config).audio.latest().parts("audio")
    shard = SoundShardReader(part.path)
    whole = SoundReader(before.parts("audio"), part_of=_parts_of(before))
    for i, key in enumerate(shard.keys):
        assert (shard.sound(i).samples == whole.sound(key).samples).all()
    low = rows_of(done[3])["low"]["clip_key"]
    assert low in shard.keys
    forget(str(store), ["low"])
    left = Session(config).audio
    kept = [SoundShardReader(p.path).keys for p in left.latest().parts("audio")]
    assert kept == [tuple(key for key in shard.keys if key != low)]
    named = [p for p in store.rglob("*.arrow") if low.encode() in p.read_bytes()]
    assert named == [], "no part holds its sound or frames"
    assert verify_store(open_root(str(store))) == []
    assert set(rows_of(Session(config).find("embeddings", done[3].artifact.fingerprint).latest()))


def _parts_of(snapshot):
    parts = enumerate(snapshot.parts("audio"))
    return {key: n for n, part in parts for key in SoundShardReader(part.path).keys}


def test_what_cannot_be_heard_is_refused(videos, weights, tmp_path):
    with pytest.raises(ConfigError, match=r"extract\.sound\.rate=48000"):
        check_config(config_of(videos, weights, tmp_path, rate=16_000))
    with pytest.raises(ConfigError, match=r"max_seconds \(2\): these weights hear 1\.6665 sec"):
        check_config(config_of(videos, weights, tmp_path, max_seconds=2.0))
    config = config_of(videos, weights, tmp_path)
    assert config.extract.sound.max_seconds == 1.666, "as long as it hears"
    windows = config.corpus.model_validate({**vars(config.corpus), "windows": {}})
    with pytest.raises(ConfigError, match="windows"):
        check_config(config.model_copy(update={"corpus": windows}))
    (tmp_path / "deaf").mkdir()
    native_models.pe_video(tmp_path / "deaf")
    with pytest.raises(ConfigError, match="hear nothing"):
        check_config(config_of(videos, tmp_path / "deaf", tmp_path))
    with pytest.raises(ConfigError, match="whose model hears"):
        choose_stages(["audio"])
    assert choose_stages(None, hears=True) == list(STAGES)
    assert "audio" not in choose_stages(None)


def test_embeddinggemma_hears_in_the_same_way(videos, tmp_path):
    """From files to tables and a search: sound at its own rate, and null without."""
    pytest.importorskip("transformers", minversion="5.19", reason="EmbeddingGemma-2 is newer")
    (tmp_path / "gemma").mkdir()
    native_models.embedding_gemma2(tmp_path / "gemma", hears=True)
    config = config_of(videos, tmp_path / "gemma", tmp_path / "store")
    assert vars(config.extract.sound) == {"rate": 16_000, "max_seconds": 30.0}
    _, sound, tables = ran(config)
    rows = rows_of(tables)
    for name in ("audio", "audio_video"):
        assert {key for key, row in rows.items() if row[name] is not None} == set(SOUND)
        vectors = {key: np.array(rows[key][name]) for key in SOUND}
        assert (vectors["high"] == vectors["twin"]).all()
        assert np.abs(vectors["high"] - vectors["low"]).max() > 1e-3
        with reelvec.open(config.store).run().searches(column=name) as searches:
            assert {row.video_id for row in searches.text("a tone").rows} == set(SOUND)
    assert sound.counts().quarantined == len(REASONS)
