"""The synthetic corpus: real files, the same bytes, captions that tell videos apart."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.synthetic.corpus import RECIPE, SyntheticOptions, SyntheticReader
from reelvec.storage.corpora.synthetic.drawing import draw
from reelvec.storage.corpora.synthetic.encoding import KINDS, encode
from reelvec.storage.corpora.synthetic.scenes import (
    AXES,
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    SPEEDS,
    TURNABLE,
    Scene,
    captions_of,
    scene_of,
    split_of,
)
from reelvec.storage.errors import CorpusError
from tests.storage.corpora.contracts_corpora import CorpusReaderContract


def reader(store: Path, **options) -> SyntheticReader:
    return open_corpus(SyntheticCorpus(**options), store_dir=store)


def scene(**changes) -> Scene:
    fields = {
        "shape": "triangle",
        "colour": "red",
        "background": "black",
        "axis": "horizontal",
        "backwards": False,
        "size": "large",
        "speed": "fast",
        "centre": (0.5, 0.5),
        "angle": 0.0,
        "unit": "0/test/0",
    }
    return Scene(**fields | changes)


def decoded(path: Path | str) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def digest(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.name != "manifest.json"
    }


class TestContract(CorpusReaderContract):
    @pytest.fixture
    def reader(self, tmp_path):
        return reader(tmp_path, videos=12, size=32)


def test_the_schema_has_these_options():
    options = SyntheticCorpus().model_dump(exclude={"kind", "windows"})  # how it is cut, not drawn
    assert SyntheticOptions(**options) == SyntheticOptions()


def test_every_kind_is_a_real_file_with_every_frame(tmp_path):
    drawn = draw(scene(), frames=16, size=96)
    for name, kind in KINDS.items():
        path = tmp_path / f"{name}{kind.extension}"
        encode(drawn, path, kind=kind, fps=8)
        seen = decoded(path)
        assert seen.shape == drawn.shape, name
        assert np.abs(seen.astype(int) - drawn).mean() < 3, name
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            assert stream.average_rate == 8
            assert abs(float(file.duration / av.time_base) - 2.0) < 0.15, name
            keyframes = sum(packet.is_keyframe for packet in file.demux(stream) if packet.size)
            assert keyframes >= 2, name


def test_default_codecs_are_at_least_three_kinds():
    kinds = {(KINDS[name].container, KINDS[name].codec) for name in SyntheticCorpus().codecs}
    assert len(kinds) >= 4
    assert ("mp4", "libx264") in kinds


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    options = {"videos": 28, "codecs": tuple(KINDS), "size": 48}
    first, second = reader(tmp_path / "1", **options), reader(tmp_path / "2", **options)
    other = reader(tmp_path / "3", **options, seed=1)
    assert first.generate() == second.generate() == other.generate() == 28
    assert digest(first.directory) == digest(second.directory)
    assert first.directory.name == second.directory.name != other.directory.name
    assert set(digest(first.directory).values()).isdisjoint(digest(other.directory).values())


def test_generating_again_does_nothing_and_damage_is_repaired(tmp_path):
    corpus = reader(tmp_path, videos=8, size=32)
    corpus.generate()
    before = digest(corpus.directory)
    times = {file: file.stat().st_mtime_ns for file in corpus.directory.iterdir()}
    assert corpus.generate() == 0
    assert times == {file: file.stat().st_mtime_ns for file in corpus.directory.iterdir()}
    names = sorted(before)
    (corpus.directory / names[0]).unlink()
    (corpus.directory / names[1]).write_bytes(b"half")
    assert corpus.generate() == 2
    assert digest(corpus.directory) == before


def test_a_larger_corpus_adds_files_to_the_same_folder(tmp_path):
    small, large = reader(tmp_path, videos=6, size=32), reader(tmp_path, videos=9, size=32)
    listed = small.read()
    assert small.directory == large.directory
    assert large.generate() == 3
    assert large.read().videos[:6] == listed.videos
    assert large.read().captions[:6] == listed.captions
    assert small.generate() == 0 and large.generate() == 0  # neither forgets the other's files


def test_a_broken_manifest_is_rewritten(tmp_path):
    corpus = reader(tmp_path, videos=3, size=32)
    corpus.generate()
    manifest = corpus.directory / "manifest.json"
    for content in (b"", b"{", b"[1]", b'{"shapes-000000.mp4": "x"}'):
        manifest.write_bytes(content)
        corpus.generate()
        assert json.loads(manifest.read_bytes()) == {
            file.name: file.stat().st_size
            for file in corpus.directory.iterdir()
            if file != manifest
        }


def test_old_temporary_files_are_swept(tmp_path):
    corpus = reader(tmp_path, videos=2, size=32)
    corpus.directory.mkdir(parents=True)
    old, new = corpus.directory / ".old.tmp", corpus.directory / ".new.tmp"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    corpus.generate()
    assert new.exists() and not old.exists()


@pytest.mark.slow
def test_a_killed_run_is_continued(tmp_path):
    whole = reader(tmp_path / "whole", videos=120, size=64)
    whole.generate()
    corpus = reader(tmp_path / "killed", videos=120, size=64)
    program = (
        "import sys; from pathlib import Path;"
        "from reelvec.storage.corpora.synthetic.corpus import SyntheticOptions, SyntheticReader;"
        "SyntheticReader(SyntheticOptions(videos=120, size=64),"
        " store_dir=Path(sys.argv[1])).generate()"
    )
    killed = 0
    for enough in (5, 40, 90):
        child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "killed")])
        while child.poll() is None:
            if corpus.directory.exists() and len(list(corpus.directory.glob("shapes*"))) >= enough:
                child.send_signal(signal.SIGKILL)
            time.sleep(0.001)
        killed += child.returncode == -signal.SIGKILL
        for file in corpus.directory.glob("shapes*"):
            assert len(decoded(file)) == 16  # what has its name is whole
    assert killed >= 1
    corpus.generate()
    for file in corpus.directory.glob(".*.tmp"):
        file.unlink()
    assert digest(corpus.directory) == digest(whole.directory)


def test_test_videos_show_what_training_never_showed(tmp_path):
    pairs = defaultdict(set)
    for index in range(1200):
        split, number = split_of(index)
        shown = scene_of(split, number, seed=3, motion_only=0.5)
        pairs[split].add((shown.shape, shown.colour))
    assert pairs["val"] <= pairs["train"]
    assert pairs["train"].isdisjoint(pairs["test"])
    assert len(pairs["train"]) == 48 and len(pairs["test"]) == 16
    for part in ("train", "test"):  # each shape and each colour alone is seen on both sides
        assert {shape for shape, _ in pairs[part]} == set(SHAPES)
        assert {colour for _, colour in pairs[part]} == set(COLOURS)


def test_splits_do_not_depend_on_the_length():
    splits = [split_of(index) for index in range(8000)]
    assert len(set(splits)) == 8000  # no two videos are the same one
    counts = Counter(split for split, _ in splits[:360])
    assert counts == {"train": 240, "val": 30, "test": 90}
    for split in ("train", "val", "test"):
        numbers = [number for name, number in splits if name == split]
        assert numbers == list(range(len(numbers)))
    assert Counter(split for split, _ in splits)["test"] == 1536


@given(
    seed=st.integers(0, 99), motion_only=st.sampled_from([0.0, 0.3, 1.0]), count=st.integers(1, 4)
)
@settings(max_examples=8, deadline=None)
def test_a_test_caption_describes_one_video(seed, motion_only, count):
    described = Counter()
    for number in range(1536):
        shown = scene_of("test", number, seed=seed, motion_only=motion_only)
        texts = captions_of(shown, count=count)
        assert len(set(texts)) == count  # paraphrases differ
        described.update(texts)
    assert described.most_common(1)[0][1] == 1


@pytest.mark.parametrize("motion_only", [0.0, 0.4, 1.0])
def test_motion_pairs_differ_in_motion_alone(tmp_path, motion_only):
    corpus = reader(tmp_path, videos=240, size=16, seconds=0.25, motion_only=motion_only)
    listing = corpus.read()
    splits = {video.video_id: video.split for video in listing.videos}
    motion = [c for c in listing.captions if c.subset == "motion"]
    share = len(motion) / len(listing.captions)
    assert abs(share - motion_only) < 0.05
    units = defaultdict(list)
    numbers = {video.video_id: split_of(n) for n, video in enumerate(listing.videos)}
    for caption in motion:
        split, number = numbers[caption.video_id]
        shown = scene_of(split, number, seed=0, motion_only=motion_only)
        units[shown.unit].append((shown, caption))
    for (one, one_caption), (two, two_caption) in units.values():
        assert splits[one_caption.video_id] == splits[two_caption.video_id]
        assert one.backwards != two.backwards
        frames = draw(one, frames=9, size=48), draw(two, frames=9, size=48)
        np.testing.assert_array_equal(frames[0], frames[1][::-1])
        differing = set(one_caption.text.split()) ^ set(two_caption.text.split())
        words = "right left towards down up sinks rises downwards upwards grows shrinks growing"
        assert differing <= {*words.split(), "shrinking", "clockwise", "counterclockwise"}
        assert one_caption.text != two_caption.text


def centroid(frame: np.ndarray) -> tuple[float, float]:
    y, x = np.nonzero(frame.max(axis=2) > 100)
    return x.mean(), y.mean()


def test_what_is_drawn_is_what_is_said():
    right = draw(scene(), frames=5, size=96)
    assert centroid(right[-1])[0] - centroid(right[0])[0] > 40
    down = draw(scene(axis="vertical"), frames=5, size=96)
    assert centroid(down[-1])[1] - centroid(down[0])[1] > 40
    grows = draw(scene(axis="size"), frames=5, size=96)
    assert (grows[-1] > 100).sum() > 3 * (grows[0] > 100).sum()
    # the tip of a triangle that turns clockwise goes from the left over the top to the right
    turns = draw(scene(axis="turn"), frames=5, size=96)
    tips = [np.array(centroid(f)) - 47.5 for f in turns]
    assert tips[0][0] > 0 > tips[-1][0]  # its heavy side is right, then left
    slow = draw(scene(speed="slow"), frames=5, size=96)
    assert centroid(slow[-1])[0] - centroid(slow[0])[0] < 0.6 * 56
    assert (draw(scene(size="small"), frames=1, size=96) > 100).sum() < 2000
    pixels = draw(scene(shape="ring"), frames=1, size=96)[0]
    assert pixels[48, 48].max() < 20  # a hole
    assert len({tuple(p) for p in pixels.reshape(-1, 3)}) > 8  # edges are antialiased


def test_every_scene_looks_different():
    drawn = {}
    for shape in SHAPES:
        for colour in COLOURS:
            for background in BACKGROUNDS:
                shown = scene(shape=shape, colour=colour, background=background)
                pixels = draw(shown, frames=1, size=32)[0]
                drawn[pixels.tobytes()] = shown
    assert len(drawn) == len(SHAPES) * len(COLOURS) * len(BACKGROUNDS)


def test_captions_name_every_attribute():
    for axis in AXES:
        for backwards in (False, True):
            for size in SIZES:
                for speed in SPEEDS:
                    shown = scene(axis=axis, backwards=backwards, size=size, speed=speed)
                    for text in captions_of(shown, count=5):
                        assert "red triangle" in text and "black" in text
                        assert ("small" in text or "little" in text) == (size == "small")
                        assert ("slowly" in text or "gently" in text) == (speed == "slow")
                        assert len(text.split()) <= 20


def test_what_a_seed_shows_is_for_all_time():
    """A change here must raise RECIPE, or stores would show old videos under new captions."""
    shown = [
        captions_of(scene_of(split, number, seed=0, motion_only=0.4), count=2)
        for split in ("train", "val", "test")
        for number in range(40)
    ]
    digest = hashlib.sha256(repr(shown).encode()).hexdigest()
    assert (RECIPE, digest[:16]) == (2, "fa9c2e9699f5df79")


def test_only_shapes_without_symmetry_turn():
    for number in range(1000):
        shown = scene_of("train", number, seed=0, motion_only=0.0)
        assert shown.axis != "turn" or shown.shape in TURNABLE


def test_unknown_codecs_are_named(tmp_path):
    with pytest.raises(CorpusError, match=r"'mp3' cannot be encoded; use some of: h264-mp4"):
        reader(tmp_path, codecs=("h264-mp4", "mp3"))


def test_scenes_of_one_frame(tmp_path):
    listing = reader(tmp_path, videos=2, size=16, seconds=0.01).read()
    assert len(decoded(listing.videos[0].path)) == 1


def test_the_demo_corpus_takes_seconds(tmp_path):
    start = time.process_time()  # of all threads: a busy machine does not count
    corpus = reader(tmp_path)
    assert corpus.generate() == 360
    assert time.process_time() - start < 20
    start = time.process_time()
    assert len(corpus.read().videos) == 360
    assert time.process_time() - start < 1
