"""Sound of real files: its samples against a decode by hand, its times, and what has none."""

import json

import av
import numpy as np
import pyarrow as pa
import pytest

from reelvec.configs.decoding import SoundForm
from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.frames.sound import ClipSound, SoundShardReader, SoundShardWriter
from reelvec.tasks.decoding.files import ClipJob
from reelvec.tasks.decoding.sounds import SoundOptions, decode_sounds
from tests.support import media

TONE = "aevalsrc=0.8*sin(2*PI*440*t)|0.2*sin(2*PI*440*t):s=44100:d=3"
"""Two channels of one tone; their mean is 0.5 of it."""


def film(path, *inputs, before=(), outputs=(), sound=("-c:a", "pcm_s16le")):
    """Three seconds of pictures, 25 a second, with sound from `inputs`."""
    pictures = (*before, "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=3")
    codec = ("-c:v", "mpeg4", "-q:v", "8")
    media.ffmpeg(*pictures, *inputs, *codec, *(sound if inputs else ()), *outputs, str(path))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("sound")
    tone = ("-f", "lavfi", "-i", TONE)
    film(made / "tone.mkv", *tone)
    film(made / "aac.mp4", *tone, sound=("-c:a", "aac", "-b:a", "192k"))
    film(made / "late.mkv", "-itsoffset", "1", *tone, outputs=("-t", "4"))
    film(made / "early.mkv", *tone, before=("-itsoffset", "1"))
    film(made / "silent.mp4")
    whole = (made / "aac.mp4").read_bytes()
    hole = bytearray(whole)
    at = whole.index(b"mdat") + len(whole) // 3
    hole[at : at + len(whole) // 6] = bytes(len(whole) // 6)
    (made / "hole.mp4").write_bytes(hole)
    (made / "cut.mkv").write_bytes((made / "tone.mkv").read_bytes()[:-150_000])
    return made


def sounds(folder, *names, **options):
    """Results by name; a name may be (name, start, end)."""
    jobs = []
    for given in names:
        name, start, end = given if isinstance(given, tuple) else (given, None, None)
        path = str(folder / name)
        jobs.append(ClipJob(clip_key=name, path=path, start_seconds=start, end_seconds=end))
    return list(decode_sounds(jobs, options=SoundOptions(**options)))


def by_hand(path):
    """Mean of the channels of every frame, one after another, at the file's own rate."""
    with av.open(str(path)) as container:
        return np.concatenate(
            [f.to_ndarray().reshape(-1, 2).mean(axis=1) / 2**15 for f in container.decode(audio=0)]
        )


def tone(seconds, *, rate=48_000, start=0.0):
    return 0.5 * np.sin(2 * np.pi * 440 * (start + np.arange(int(seconds * rate)) / rate))


def likeness(samples):
    """The least cosine of a tenth of a second with the tone: 0 of silence."""
    blocks = samples[: len(samples) // 4800 * 4800].reshape(-1, 4800)
    wanted = tone(len(samples) / 48_000 + 1)[: blocks.size].reshape(blocks.shape)
    lengths = np.linalg.norm(blocks, axis=1) * np.linalg.norm(wanted, axis=1)
    return ((blocks * wanted).sum(axis=1) / np.maximum(lengths, 1e-9)).min()


def test_samples_are_the_mean_of_the_channels_at_the_asked_rate(folder):
    (own,) = sounds(folder, "tone.mkv", form=SoundForm(rate=44_100))
    assert own.outcome.status == "ok" and own.samples.dtype == np.float32
    assert np.abs(own.samples - by_hand(folder / "tone.mkv")).max() < 1e-6
    (changed,) = sounds(folder, "tone.mkv")
    assert len(changed.samples) == 144_000, "to the last one that the change of rate holds back"
    inside = slice(500, 143_000)
    assert np.abs(changed.samples[inside] - tone(3)[inside]).max() < 2e-3
    assert json.loads(changed.outcome.detail) == {"codec": "pcm_s16le", "channels": 2}
    (lossy,) = sounds(folder, "aac.mp4")
    assert likeness(lossy.samples[:144_000]) > 0.98


def test_a_window_is_of_the_pictures_clock(folder):
    piece, late, before, whole = sounds(
        folder, ("tone.mkv", 1.0, 1.5), ("late.mkv", 0.5, 2.0), ("late.mkv", 0.0, 0.5), "late.mkv"
    )
    assert piece.start_seconds == pytest.approx(1.0, abs=2e-3)
    assert len(piece.samples) == pytest.approx(24_000, abs=50)
    wanted = tone(1, start=piece.start_seconds)[: len(piece.samples)]
    assert np.abs(piece.samples - wanted)[500:-500].max() < 2e-3
    assert late.start_seconds == pytest.approx(1.0, abs=2e-3)
    assert len(late.samples) == pytest.approx(48_000, abs=100)
    assert whole.start_seconds == pytest.approx(1.0, abs=2e-3)
    assert (before.outcome.status, before.outcome.reason) == ("quarantined", "no_samples")
    whole, piece = sounds(folder, "early.mkv", ("early.mkv", 0.5, 1.0))
    assert whole.start_seconds == pytest.approx(-1.0, abs=2e-3), "sound before the pictures"
    assert piece.start_seconds == pytest.approx(0.5, abs=2e-3)
    assert np.abs(piece.samples - tone(1, start=1.5)[: len(piece.samples)])[500:-500].max() < 2e-2


def test_what_has_no_sound_is_a_row_with_a_reason_and_never_silence(folder):
    silent, gone = sounds(folder, "silent.mp4", "gone.mp4")
    assert (silent.outcome.status, silent.outcome.reason) == ("quarantined", "no_audio_stream")
    assert (gone.outcome.status, gone.outcome.reason) == ("quarantined", "missing")
    assert len(silent.samples) == len(gone.samples) == 0


@pytest.mark.parametrize(("name", "reason"), [("hole.mp4", "damaged"), ("cut.mkv", "truncated")])
def test_broken_sound_is_refused_or_kept_up_to_the_damage(folder, name, reason):
    (strict,) = sounds(folder, name)
    assert (strict.outcome.status, strict.outcome.reason) == ("quarantined", reason)
    assert len(strict.samples) == 0
    (kept,) = sounds(folder, name, damaged="salvage")
    assert (kept.outcome.status, kept.outcome.reason) == ("salvaged", reason)
    assert 5_000 < len(kept.samples) < 140_000
    assert likeness(kept.samples) > 0.98, "no silence in place of what is broken"


def test_long_sound_is_cut_and_says_so(folder):
    (cut,) = sounds(folder, "tone.mkv", form=SoundForm(max_seconds=0.5))
    assert len(cut.samples) == 24_000 and cut.outcome.status == "ok"
    assert json.loads(cut.outcome.detail)["cut_to_seconds"] == 0.5


def test_a_shard_gives_back_what_it_was_given(tmp_path):
    drawn = np.random.default_rng(0)
    clips = [
        ClipSound(key, drawn.standard_normal(n).astype(np.float32), start)
        for key, n, start in (("a", 5, 0.0), ("b", 70_000, -0.25))
    ]
    for path in (tmp_path / "1.arrow", tmp_path / "2.arrow"):
        with SoundShardWriter(path, rate=16_000) as writer:
            for clip in clips:
                writer.add(clip)
    assert (tmp_path / "1.arrow").read_bytes() == (tmp_path / "2.arrow").read_bytes()
    reader = SoundShardReader(tmp_path / "1.arrow")
    assert (reader.keys, reader.rate) == (("a", "b"), 16_000)
    for i, clip in enumerate(clips):
        found = reader.sound(i)
        assert np.array_equal(found.samples, clip.samples) and not found.samples.flags.writeable
        assert (found.clip_key, found.start_seconds) == (clip.clip_key, clip.start_seconds)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(0, np.float32), "no sample"),
        (np.zeros(3), r"float64\[3\]"),
        (np.zeros((1, 3), np.float32), r"float32\[1, 3\]"),
        (np.array([0, np.nan], np.float32), "not finite"),
    ],
)
def test_what_is_no_sound_is_not_written(tmp_path, samples, said):
    with SoundShardWriter(tmp_path / "x.arrow", rate=48_000) as writer:
        with pytest.raises(StoreError, match=said):
            writer.add(ClipSound("a", samples, 0.0))
        writer.add(ClipSound("a", np.ones(1, np.float32), 0.0))
        with pytest.raises(StoreError, match="in this shard already"):
            writer.add(ClipSound("a", np.ones(1, np.float32), 0.0))


def test_another_file_is_no_sound_shard(tmp_path):
    table = pa.table({"a": [1]})
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "y.arrow").write_bytes(b"nothing")
    for name in ("x.arrow", "y.arrow"):
        with pytest.raises(IntegrityError, match="no sound shard"):
            SoundShardReader(tmp_path / name)
