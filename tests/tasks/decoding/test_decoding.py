"""Clips and probes through the sandbox: order, outcomes, content checks, rules that repeat."""

import dataclasses
import os
import shutil

import numpy as np
import psutil
import pytest
import torch

from reelvec.configs.decoding import MAX_PIXELS, FileLimits, FrameOptions
from reelvec.configs.schema import ExtractConfig, SamplingConfig
from reelvec.models.sampling.rules import Rule
from reelvec.storage.errors import VideoError
from reelvec.storage.records import Video, clip_key
from reelvec.storage.sandbox.options import SandboxOptions
from reelvec.storage.sandbox.pool import Sandbox
from reelvec.storage.sandbox.zygote import zygote_of_this_process
from reelvec.storage.video import decoders
from reelvec.storage.video.content import hash_file
from reelvec.storage.video.probe import probe
from reelvec.tasks.decoding import files, worker
from reelvec.tasks.decoding.files import (
    ClipJob,
    decode_clips,
    probe_files,
)
from reelvec.tasks.decoding.preloading import PRELOAD, Resized
from reelvec.tasks.identity import frames_identity
from tests.support import media


def options(**changes):
    return ExtractConfig(**{"size": 64, "deadline_seconds": 30, **changes})


def listed(path, **fields):
    """A corpus row as ingest would write it."""
    (video,) = probe_files([Video(video_id="v", path=str(path), **fields)], limits=FileLimits())
    return video


@pytest.fixture
def copy(tmp_path):
    """A file of its own, free to be changed."""
    return shutil.copy(media.video("h264_mp4"), tmp_path / "clip.mp4")


def decode_one(video, **changes):
    key = clip_key(
        video.content_hash, start_seconds=video.start_seconds, end_seconds=video.end_seconds
    )
    job = ClipJob.from_video(video, clip_key=key)
    (result,) = decode_clips([job], options=options(**changes))
    return result


def test_a_rule_that_draws_draws_by_its_seed(copy):
    """The default seed is not in the identity: frames from before there was a seed are found."""
    video = listed(copy)
    rules = {"policy": "adaclip_random", "count": 5}
    configs = {seed: ExtractConfig(sampling={**rules, "seed": seed}) for seed in (0, 1)}
    drawn = {
        seed: decode_one(video, sampling=c.sampling).frame_index.tolist()
        for seed, c in configs.items()
    }
    for seed, frames in drawn.items():
        random = np.random.RandomState(seed)
        assert frames == sorted(random.choice(150, 5, replace=False))
    settings = {seed: frames_identity(c)["settings"]["sampling"] for seed, c in configs.items()}
    assert settings[1] == settings[0] | {"seed": 1}
    assert "seed" not in settings[0]


def test_probe_fills_the_record(copy):
    video = listed(copy, split="train", start_seconds=1.0)
    assert video.content_hash == hash_file(copy)
    assert dataclasses.asdict(video) == {
        "video_id": "v", "path": str(copy), "split": "train", "content_hash": video.content_hash,
        "bytes": copy.stat().st_size, "mtime_ns": copy.stat().st_mtime_ns,
        "start_seconds": 1.0, "end_seconds": None, "status": "ok", "reason": "", "message": "",
        "container": "mov", "codec": "h264", "width": 160, "height": 120, "rotation": 0,
        "fps_container": 25.0, "frames_from_header": 150, "frames_counted": 150,
        "duration_seconds_from_header": 6.0, "keyframes": 5,
        "inode": copy.stat().st_ino, "ctime_ns": copy.stat().st_ctime_ns, "packets": video.packets,
    }  # fmt: skip


def test_the_process_that_forks_decoders_has_one_thread(copy):
    """A fork copies no thread, but any lock that another thread holds: Python 3.12 on warns."""
    listed(copy)
    zygote = zygote_of_this_process(PRELOAD)
    assert psutil.Process(zygote.pid).num_threads() == 1


def test_probe_keeps_order_and_quarantines(copy, tmp_path):
    (tmp_path / "words.mp4").write_text("words")
    paths = [copy, tmp_path / "nowhere.mp4", tmp_path / "words.mp4", copy]
    rows = [Video(video_id=str(i), path=str(path)) for i, path in enumerate(paths)]
    done = list(probe_files(rows, limits=FileLimits(), workers=2))
    assert [v.video_id for v in done] == ["0", "1", "2", "3"]
    assert [(v.status, v.reason) for v in done] == [
        ("ok", ""), ("quarantined", "missing"), ("quarantined", "unreadable"), ("ok", ""),
    ]  # fmt: skip
    assert done[1].content_hash == ""
    assert done[2].content_hash == hash_file(paths[2])
    assert done[0].content_hash == done[3].content_hash


def test_a_clip_has_frames_times_and_a_ledger_row(copy):
    result = decode_one(listed(copy))
    assert result.frames.shape == (6, 64, 64, 3)
    assert result.frames.dtype == np.uint8
    assert [media.barcode(frame) for frame in result.frames] == [0, 25, 50, 75, 100, 125]
    assert result.pts_seconds.tolist() == [0, 1, 2, 3, 4, 5]
    assert result.frame_index.tolist() == [0, 25, 50, 75, 100, 125]
    row = result.outcome
    assert row.key == result.clip_key == listed(copy).content_hash
    assert (row.status, row.reason, row.message, row.attempts) == ("ok", "", "", 1)
    assert row.detail == '{"decoder": "selective", "codec": "h264 in mov"}'


def test_a_window_is_part_of_the_file(copy):
    video = dataclasses.replace(listed(copy), start_seconds=2.0, end_seconds=4.0)
    result = decode_one(video, sampling=SamplingConfig(policy="uniform", count=3))
    assert result.clip_key.endswith("@2-4")
    assert [media.barcode(frame) for frame in result.frames] == [50, 74, 99]


def test_a_last_picture_that_stays_is_on_screen_until_its_end(tmp_path):
    """A GIF's way: the container says how long, and the rule asks once a second."""
    held = ("-c:v", "gif", "-final_delay", "200")
    video = listed(media.encode(tmp_path / "held.gif", held, frames=media.painted(50)))
    result = decode_one(video)
    assert [media.barcode(frame) for frame in result.frames] == [0, 25, 49]
    result = decode_one(dataclasses.replace(video, start_seconds=3.0, end_seconds=3.5))
    assert [media.barcode(frame) for frame in result.frames] == [49]


def test_the_same_bytes_give_the_same_frames(copy):
    first, second = decode_one(listed(copy)), decode_one(listed(copy))
    assert np.array_equal(first.frames, second.frames)
    assert first.outcome == second.outcome


def test_a_rule_that_repeats_frames_repeats_them(copy):
    result = decode_one(listed(copy), sampling=SamplingConfig(policy="adaclip_uniform", count=300))
    assert len(result.frames) == 300
    assert result.frame_index.tolist() == [i // 2 for i in range(300)]
    assert [media.barcode(frame) for frame in result.frames[:6]] == [0, 0, 1, 1, 2, 2]
    assert result.pts_seconds[299] == pytest.approx(149 / 25)


def test_a_rule_that_cannot_be_followed_is_that_clips_outcome(copy):
    result = decode_one(listed(copy), sampling=SamplingConfig(policy="adaclip_random", count=300))
    assert (result.outcome.status, result.outcome.reason) == ("quarantined", "no_frames")
    assert "adaclip_random" in result.outcome.message


def test_new_bytes_under_an_old_path_are_noticed(copy):
    video = listed(copy)
    shutil.copy(media.video("hevc_mp4"), copy)
    result = decode_one(video)
    assert (result.outcome.status, result.outcome.reason) == ("quarantined", "changed")
    assert len(result.frames) == 0
    assert result.outcome.key == video.content_hash


def test_a_touched_file_is_the_same_file(copy):
    video = dataclasses.replace(listed(copy), mtime_ns=1)
    assert decode_one(video).outcome.status == "ok"


def test_bytes_changed_in_place_are_noticed_by_the_change_time(copy):
    """Size and modification time are as they were when the corpus was listed."""
    video, before = listed(copy), copy.stat()
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert decode_one(video).outcome.reason == "changed"


def test_a_link_made_while_a_file_is_read_is_no_writing(copy, tmp_path, monkeypatch):
    """Backups link files at any time; writing to one in the meantime is another matter."""
    job = {"path": str(copy), "max_pixels": MAX_PIXELS}
    probed = worker.probe

    def link_then_probe(*arguments, **keywords):
        os.link(copy, tmp_path / "backup")
        return probed(*arguments, **keywords)

    monkeypatch.setattr(worker, "probe", link_then_probe)
    assert worker.probe_file(job, Silent())["codec"] == "h264"

    def write_then_probe(*arguments, **keywords):
        found = probed(*arguments, **keywords)
        before = copy.stat()
        copy.write_bytes(bytes(before.st_size))
        os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
        return found

    monkeypatch.setattr(worker, "probe", write_then_probe)
    assert worker.probe_file(job, Silent())["reason"] == "changed"


class Silent:
    """A worker without an owner."""

    def __init__(self):
        self.arrays = []

    def heartbeat(self):
        """Nobody listens."""

    def allocate(self, shape, dtype=np.uint8):
        self.arrays.append(np.zeros(shape, dtype))
        return self.arrays[-1]


def test_what_a_failed_decoder_kept_is_not_taken_for_the_frames(copy, monkeypatch):
    """To salvage, its frames wait in an array of their own; the next decoder reads them all."""

    def half(reading):
        for index in reading.sink.picks[:2]:
            reading.sink.put(int(index), np.zeros((120, 160, 3), np.uint8))
        raise VideoError("no further", path=reading.path, reason="damaged")

    monkeypatch.setitem(decoders.READERS, "selective", half)
    config, silent = options(damaged="salvage"), Silent()
    job = ClipJob(clip_key="c", path=str(copy))
    answer = worker.decode_clip({**dataclasses.asdict(job), **files._shared_fields(config)}, silent)
    assert (answer["status"], answer["kept"]) == ("ok", 6)
    frames = silent.arrays[answer["arrays"][0]]
    assert [media.barcode(frame) for frame in frames] == [0, 25, 50, 75, 100, 125]


def test_a_vanished_file_is_missing(copy):
    video = listed(copy)
    copy.unlink()
    assert decode_one(video).outcome.reason == "missing"


def test_order_is_that_of_the_jobs(tmp_path):
    kinds = ["h264_mp4", "mjpeg_avi", "vp9_webm", "hevc_mkv"] * 3
    jobs = [ClipJob(clip_key=f"{i}", path=str(media.video(k))) for i, k in enumerate(kinds)]
    jobs.insert(5, ClipJob(clip_key="lost", path=str(tmp_path / "lost")))
    results = list(decode_clips(jobs, options=options(), workers=3))
    assert [r.clip_key for r in results] == [job.clip_key for job in jobs]
    assert [r.outcome.status for r in results].count("ok") == 12


def test_few_frames_are_decoded_without_torch_and_have_the_same_bits(copy, monkeypatch):
    monkeypatch.setattr(files, "_RESIZED", Resized())
    zygote_of_this_process(PRELOAD, fresh=True)
    video = listed(copy)
    result = decode_one(video)
    asked = {"do": "modules", "names": ["torch", "av"]}
    pool = SandboxOptions(preload=PRELOAD)
    with Sandbox("tests.storage.sandbox.targets:behave", options=pool) as sandbox:
        (answer,) = sandbox.run([asked])
    assert answer.value["there"] == [False, True]

    assert torch.get_num_threads()  # in this process it is there
    form = FrameOptions(size=64)
    here = decoders.read_frames(result.frame_index, probe=probe(copy), options=form)
    np.testing.assert_array_equal(result.frames, here.frames)


def test_many_frames_are_decoded_with_torch():
    resized, a_second = Resized(), 30 * 1_000_000
    assert "torch" not in resized.also([10 * a_second] * 8)
    assert "torch" in resized.also([10 * a_second] * 80)  # no more is known than that
    resized.add(1800 * 640 * 480)
    assert "torch" not in resized.also([10 * a_second])
    resized.add(200 * 640 * 480)
    assert "torch" in resized.also([10 * a_second])


def test_recounted_files_are_sampled_again(tmp_path):
    """An AVI with B-frames that lacks packets at its start: fewer frames than packets counted."""
    path = media.without_first_packets("mpeg4_b_avi", 3, tmp_path)
    result = decode_one(listed(path), sampling=SamplingConfig(policy="uniform", count=4))
    assert result.outcome.status == "ok"
    numbers = [media.barcode(frame) for frame in result.frames]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 149


def test_the_rule_of_a_configuration_is_the_samplers_own():
    assert Rule(**SamplingConfig().model_dump()) == Rule()
