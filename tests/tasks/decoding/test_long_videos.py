"""Long videos with the default settings: time by their length, memory that does not grow with it.

The short form of `python -m tests.benchmarks long_videos`, which takes ten hours and an hour of
1080p25; here forty minutes at one frame a second, with a bound of memory as much smaller.
"""

import json
import subprocess

import numpy as np
import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.decoding import FileLimits
from reelvec.configs.schema import ExtractConfig, SamplingConfig
from reelvec.storage.frames import arrow, contract, hdf5
from reelvec.storage.frames.contract import let_go
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Outcome, Video
from reelvec.storage.video.ffmpeg_reader import ffmpeg_program
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.decoding import files
from reelvec.tasks.decoding.files import ClipJob, decode_clips, probe_files
from reelvec.tasks.frames import extract
from reelvec.tasks.training import train
from tests.support import media
from tests.support.engine_free import run_embed, run_extract, run_ingest

MINUTES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of one video: a minute at one frame a second, repeated without encoding it again."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "videos").mkdir()
    minute = folder / "minute.mp4"
    ffmpeg = [ffmpeg_program(), "-v", "error", "-nostdin"]
    drawn = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=1", "-t", "60"]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run([*ffmpeg, *drawn, *encode, str(minute)], check=True)
    again = ["-stream_loop", str(MINUTES - 1), "-i", str(minute), "-c", "copy"]
    subprocess.run([*ffmpeg, *again, str(folder / "videos" / "long.mp4")], check=True)
    return folder


def config_of(folder, store, **settings):
    return PipelineConfig.model_validate(
        {
            "store": str(folder / store),
            "corpus": {"kind": "folder", "videos": str(folder / "videos")},
            "extract": {"size": 32, **settings},
            "model": {"family": "frozen", "options": {}},
            "train": {"epochs": 0},
        }
    )


@pytest.fixture
def small_memory(monkeypatch):
    """A clip of more than 200 frames is long, and is written twenty at a time."""
    frame = 32 * 32 * 3
    monkeypatch.setattr(files, "IN_MEMORY", 200 * frame)
    for module in (arrow, contract, hdf5):
        monkeypatch.setattr(module, "PIECE_BYTES", 20 * frame)


def extracted(config):
    """(checksum of the part, its only outcome, the snapshot, the note)."""
    run_ingest(config)
    _, snapshot = run_extract(config)
    (part,) = snapshot.parts("frames")
    note = extract.frames_note([part.receipt], extract=config.extract, read=12)
    return part.receipt.checksum, *part.outcomes(), snapshot, note


@pytest.mark.parametrize(
    ("format", "payload"),
    [("arrow", "raw"), ("arrow", "jpeg"), ("hdf5", "raw"), ("hdf5", "jpeg")],
)
def test_a_long_video_gives_the_same_part_with_less_memory(folder, format, payload, request):
    how = {"format": format, "payload": payload}
    expected, _, _, _ = extracted(config_of(folder, f"whole-{format}-{payload}", **how))
    request.getfixturevalue("small_memory")
    found, outcome, snapshot, note = extracted(config_of(folder, f"long-{format}-{payload}", **how))
    assert (outcome.status, found) == ("ok", expected)
    assert json.loads(outcome.detail)["frames"] == MINUTES * 60
    reader = FrameReader(snapshot)
    assert reader.frame_index(outcome.key).tolist() == list(range(MINUTES * 60))
    assert "2,400 in all" in note and "extract.sampling.max_frames" in note
    reader.close()


def test_a_long_video_is_embedded(folder, small_memory):
    config = config_of(folder, "embedded", size=64)
    extracted(config)
    train.train(Session(config))
    _, snapshot = run_embed(config)
    assert snapshot.counts("videos").ok == 1
    assert list((folder / "embedded" / ".scratch").iterdir()) == []


@pytest.mark.usefixtures("small_memory")
def test_frames_of_a_long_clip_are_mapped_and_can_be_let_go(folder, tmp_path):
    job = ClipJob(clip_key="c", path=str(folder / "videos" / "long.mp4"))
    (result,) = decode_clips([job], options=ExtractConfig(size=32), scratch=tmp_path)
    before = result.frames[::97].copy()
    let_go(result.frames)
    assert np.array_equal(result.frames[::97], before) and before.any()
    in_memory = np.ones((3, 4), np.uint8)
    let_go(in_memory)
    assert in_memory.all()


@pytest.mark.usefixtures("small_memory")
def test_a_long_damaged_clip_is_salvaged_up_to_its_damage(folder, tmp_path):
    """What one decoder kept waits in the file while another tries, and comes back as it was."""
    path = tmp_path / "cut.mp4"
    data = bytearray((folder / "videos" / "long.mp4").read_bytes())
    at = data.index(b"mdat") + 4 + (len(data) * 6 // 10)
    data[at : at + 20_000] = bytes(20_000)
    path.write_bytes(data)
    options = ExtractConfig(size=32, damaged="salvage")
    jobs = [ClipJob(clip_key=name, path=str(p)) for name, p in
            (("cut", path), ("whole", folder / "videos" / "long.mp4"))]  # fmt: skip
    cut, whole = decode_clips(jobs, options=options, scratch=tmp_path)
    count = len(cut.frames)
    assert cut.outcome.status == "salvaged" and 200 < count < len(whole.frames)
    assert np.array_equal(cut.frames, whole.frames[:count])


def deadlines(monkeypatch, call):
    """The seconds that each job of a sandbox would be given; none is run."""
    given = []

    class Watched(files.Sandbox):
        def run(self, jobs, *, deadline):
            given.extend(map(deadline, jobs))
            return iter(())

    monkeypatch.setattr(files, "Sandbox", Watched)
    call()
    return given


def test_time_to_decode_grows_with_length_and_picture(monkeypatch):
    gone = {"video_id": "v", "path": "/nowhere.mp4"}
    rows = [
        Video(**gone, frames_counted=250, width=320, height=240),
        Video(**gone, frames_counted=36_000, width=320, height=240),
        Video(**gone, frames_counted=90_000, width=1920, height=1080, bytes=2**30),
    ]
    jobs = [ClipJob.from_video(row, clip_key=str(i)) for i, row in enumerate(rows)]
    given = deadlines(monkeypatch, lambda: list(decode_clips(jobs, options=ExtractConfig())))
    assert given == pytest.approx([127.5, 1200, 5838.72])


def test_time_to_hash_grows_with_size(monkeypatch, tmp_path):
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.write(bytes(2**22))
        file.truncate(2**40)  # a hole, which takes no time to be written and seconds to be read
    rows = [Video("large", str(large)), Video("gone", "/nowhere.mp4")]
    given = deadlines(monkeypatch, lambda: list(probe_files(rows, limits=FileLimits())))
    assert given == pytest.approx([120 + 120 / 256, 120], abs=0.01)


def test_a_clip_that_its_format_cannot_hold_is_a_row_that_says_what_to_do(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(arrow, "_BINARY_BYTES", 50_000)
    config = config_of(tmp_path, "store", payload="jpeg")
    (tmp_path / "videos").mkdir()
    for name, source in (("a", folder / "videos" / "long.mp4"), ("b", media.video("h264_mp4"))):
        (tmp_path / "videos" / f"{name}.mp4").symlink_to(source)
    run_ingest(config)
    _, snapshot = run_extract(config)
    keys = {v.video_id: v.content_hash for v in read_corpus(Session(config)).videos}
    rows = snapshot.live("frames")
    assert rows[keys["b"]].status == "ok"
    assert (rows[keys["a"]].status, rows[keys["a"]].reason) == ("quarantined", "too_large")
    assert "extract.sampling.max_frames" in rows[keys["a"]].message


def test_nothing_is_said_where_the_model_reads_what_is_kept(monkeypatch):
    class Part:
        outcomes = (Outcome("a", detail='{"decoder": "selective"}'),
                    Outcome("b", detail='{"frames": 1500}'))  # fmt: skip

    options = ExtractConfig(sampling=SamplingConfig())
    said = [extract.frames_note([Part()], extract=options, read=n) for n in (12, 2000)]
    assert said[0].startswith("1 of the clips keep more than 1,000 frames, 1,500 in all (0.2 GiB")
    assert said[1] == ""
    Part.outcomes = Part.outcomes[:1]
    assert extract.frames_note([Part()], extract=options, read=12) == ""
