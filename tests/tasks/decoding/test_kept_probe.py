"""What ingest's probe found, carried to who decodes: the same to the bit, or not at all."""

import dataclasses

import numpy as np
import pytest

from reelvec.configs.decoding import FileLimits
from reelvec.configs.schema import ExtractConfig
from reelvec.storage.records import Video
from reelvec.storage.video import kept_probe
from reelvec.storage.video import probe as probing
from reelvec.storage.video.clock import NO_PTS
from reelvec.storage.video.content import hash_file
from reelvec.storage.video.kept_probe import kept_text, probe_from_text
from reelvec.storage.video.probe import probe
from reelvec.tasks.decoding import files, worker
from reelvec.tasks.decoding.files import ClipJob, probe_files
from tests.support import media
from tests.support.vector_cases import SandboxWorker

HASH = "ab" * 16


def facts(found):
    """Every field of a probe's result, arrays as their bytes."""
    told = dataclasses.asdict(found)
    told |= {f"packets.{name}": column for name, column in told.pop("packets").items()}
    return {
        name: (value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in told.items()
    }


def carried(path):
    """The job of a file as ingest would have it, without a process of its own."""
    found = worker.probe_file({"path": str(path), "max_pixels": 10**6}, SandboxWorker())
    video = Video("v", str(path), **found)
    return ClipJob.from_video(video, clip_key=video.content_hash)


def decoded(job, **changes):
    """A worker's answer to a job, and the bytes of its arrays."""
    options, here = ExtractConfig(size=64, resize="pillow", **changes), SandboxWorker()
    fields = {**dataclasses.asdict(job), **files._shared_fields(options)}
    answer = worker.decode_clip(fields, here)
    return answer, [here.arrays[place].tobytes() for place in answer.get("arrays", ())]


@pytest.fixture
def demuxed(monkeypatch):
    """Grows by one for every pass over a file's packets to know them."""
    passes, real = [], probing.demux
    monkeypatch.setattr(probing, "demux", lambda *a, **k: passes.append(1) or real(*a, **k))
    return passes


@pytest.mark.parametrize("name", sorted(media.KINDS))
def test_a_file_is_demuxed_once_and_its_frames_are_the_same(name, demuxed):
    job = carried(media.video(name))
    for changes in ({}, {"sampling": {"policy": "uniform", "count": 9}}):
        with_it = decoded(job, **changes)
        assert len(demuxed) == 1
        without = decoded(dataclasses.replace(job, packets=""), **changes)
        assert len(demuxed) == 2
        assert with_it == without
        assert with_it[0]["status"] == "ok"
        demuxed.pop()


def test_damaged_files_are_decoded_as_without(tmp_path):
    paths = [
        media.headless("mpeg4_b_avi", 3),  # fewer pictures come out than packets promise
        media.damaged("noisy.ts", "mpeg2_ts", hole=(0.4, 0.45)),
        media.damaged("cut.mp4", "h264_fragmented_mp4", keep=0.6),
    ]
    jobs = [carried(path) for path in paths]
    assert [bool(job.packets) for job in jobs] == [True, True, False]
    for job in jobs:
        for damaged in ("strict", "salvage"):
            with_it = decoded(job, damaged=damaged)
            assert with_it == decoded(dataclasses.replace(job, packets=""), damaged=damaged)


@pytest.mark.parametrize("name", sorted(media.KINDS))
def test_the_text_gives_back_every_fact(name):
    found = probe(media.video(name))
    text = kept_text(found, content_hash=HASH)
    assert 0 < len(text) < 1000
    back = probe_from_text(text, path=found.path, content_hash=HASH)
    assert facts(back) == facts(found)


def test_any_columns_come_back_or_are_not_kept():
    found, random, kept = probe(media.video("h264_mp4")), np.random.default_rng(5), 0
    for count in (1, 2, 7, 8, 9, 60):
        pts = random.integers(-(2**62), 2**62, count)
        ticks = random.permutation(count) * 512
        for own, times in ((ticks, ticks), (pts, ticks), (np.full(count, NO_PTS), ticks)):
            table = dataclasses.replace(
                found.packets, pts=own.astype(np.int64), ticks=times.astype(np.int64),
                keyframe=random.random(count) < 0.3, shown=random.random(count) < 0.8,
                lengths=random.integers(0, 2**40, count),
            )  # fmt: skip
            for by_time in (True, False):
                base = found.time_base
                made = dataclasses.replace(
                    found, packets=table, by_time=by_time,
                    pts_seconds=probing.shown_seconds(table, base, fps=found.fps, by_time=by_time),
                    frame_seconds=probing.said_seconds(table, base, by_time=by_time),
                )  # fmt: skip
                text = kept_text(made, content_hash=HASH)
                back = probe_from_text(text, path=made.path, content_hash=HASH)
                assert facts(back) == facts(made)
                kept += 1
    assert kept == 36
    odd = dataclasses.replace(found, pts_seconds=found.pts_seconds + 1e-9)
    assert kept_text(odd, content_hash=HASH) == ""  # its times follow from no packets


def test_a_text_that_does_not_fit_is_no_text(monkeypatch):
    found = probe(media.video("h264_mp4"))
    text = kept_text(found, content_hash=HASH)

    def read(text, content_hash=HASH):
        return probe_from_text(text, path=found.path, content_hash=content_hash)

    assert read(text) is not None
    assert read(text, content_hash=HASH[:-1] + "c") is None
    assert read(text, content_hash="") is None
    assert kept_text(found, content_hash="") == ""
    for broken in (
        "",
        "?",
        "AAAA",
        text[:-4],
        text[:40] + ("B" if text[40] != "B" else "C") + text[41:],
    ):
        assert read(broken) is None
    monkeypatch.setattr(kept_probe, "MAKERS", b"other code, or another FFmpeg")
    assert read(text) is None
    monkeypatch.setattr(kept_probe, "MOST_CHARACTERS", len(text) - 1)
    assert kept_text(found, content_hash=HASH) == ""


def test_a_table_of_another_file_is_refused(demuxed):
    """Two files of as many packets, whose keyframes are elsewhere."""
    job = carried(media.video("h264_mp4"))
    other = carried(media.video("h264_mp4_one_gop"))
    right = decoded(job)
    demuxed.clear()
    assert decoded(dataclasses.replace(job, packets=other.packets)) == right
    unknown = dataclasses.replace(job, content_hash="")  # nobody has said which bytes it has
    assert decoded(unknown) == right
    assert len(demuxed) == 2


def test_a_file_with_other_bytes_is_refused_as_ever(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(media.video("h264_mp4").read_bytes())
    job = carried(path)
    path.write_bytes(media.video("h264_mp4_one_gop").read_bytes())
    assert decoded(job)[0]["reason"] == "changed"


def test_limits_hold_for_a_carried_table_too():
    answer, _ = decoded(carried(media.video("h264_mp4")), max_pixels=160 * 120 - 1)
    assert answer["reason"] == "too_large"


def test_ingest_writes_it_into_the_row():
    path = media.video("h264_mp4")
    (video,) = probe_files([Video("v", str(path))], limits=FileLimits())
    assert ClipJob.from_video(video, clip_key="c").packets == video.packets
    back = probe_from_text(video.packets, path=str(path), content_hash=hash_file(path))
    assert facts(back) == facts(probe(path))
