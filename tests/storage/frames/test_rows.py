"""Clips of a remote store by byte range: what whole parts give, in bounded memory, or the whole."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import IntegrityError
from reelvec.storage.frames import rows
from reelvec.storage.frames.contract import ClipFrames, Source
from reelvec.storage.frames.formats import open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.records import Outcome
from reelvec.tasks.training.data import ClipLoader

KEYS = [f"{number:032x}" for number in range(12)]


class RemoteRoot(LocalRoot):
    """As if it lay elsewhere: ranges and whole files that are asked for are noted."""

    def __init__(self, folder):
        super().__init__(folder)
        self.copies_limit = 1
        self.ranges, self.whole = [], []

    def __reduce__(self):
        return type(self), (self._folder,)

    def read_into(self, path, *, start, out):
        self.ranges.append((path, start, start + len(out)))
        return super().read_into(path, start=start, out=out)

    def local_path(self, path, *, fresh=False):
        self.whole.append(path)
        return super().local_path(path, fresh=fresh)


def clip_of(number, *, native):
    rng = np.random.default_rng(number)
    count, height = 2 + number % 3, 20 if native and number % 2 else 16
    frames = rng.integers(0, 256, (count, height, 16, 3), dtype=np.uint8)
    source = Source(480, 640, 90, 25.0) if native else None
    return ClipFrames(KEYS[number], frames, np.arange(count) / 2, np.arange(count), source)


def store(root, *, payload, native, misplaced=False):
    """Three parts of four clips; of each part the second failed."""
    artifact = Artifact.open(root, kind="frames", identity={"payload": payload})
    receipts = []
    for first in (0, 4, 8):
        numbers = range(first, first + 4)
        with artifact.new_part(table="frames", shard=f"{first:05d}", suffix=".arrow") as part:
            named = {"format": "arrow", "payload": payload, "size": 16, "native": native}
            with open_writer(part.path, **named) as writer:
                for number in reversed(numbers) if misplaced else numbers:
                    if number % 4 != 1:
                        writer.add(clip_of(number, native=native))
            outcomes = [Outcome(KEYS[number]) for number in numbers]
            outcomes[1] = replace(outcomes[1], status="quarantined", reason="damaged")
            receipts.append(part.commit(rows=3, outcomes=outcomes))
    return artifact.publish(add=receipts)


def all_of(reader):
    return {key: (np.array(reader.frames(key)), reader.pts(key)) for key in reader.keys}


@pytest.mark.parametrize("native", [False, True], ids=["square", "native"])
@pytest.mark.parametrize("payload", ["raw", "jpeg"])
def test_clips_by_range_are_those_of_whole_parts(tmp_path, payload, native, monkeypatch):
    monkeypatch.setattr(rows, "TAIL_BYTES", 64)  # less than a footer
    root = RemoteRoot(tmp_path)
    snapshot = store(root, payload=payload, native=native)
    root.copies_limit = None
    whole = all_of(FrameReader(snapshot))
    root.copies_limit, root.whole = 1, []
    reader = FrameReader(snapshot)
    found = all_of(reader)
    assert list(found) == list(whole) == [key for key in KEYS if int(key, 16) % 4 != 1]
    for key, (frames, times) in found.items():
        np.testing.assert_array_equal(frames, whole[key][0])
        np.testing.assert_array_equal(times, whole[key][1])
    assert root.whole == [], "no part was asked for whole"
    again = len(root.ranges)
    reader.ahead(reader.keys[:2])
    if not native:
        picks, out = [np.array([1, 0])] * 2, np.empty((2, 3, 16, 16, 3), np.uint8)
        reader.gather(reader.keys[:2], picks=picks, out=out)
        np.testing.assert_array_equal(out[1, :2], whole[reader.keys[1]][0][[1, 0]])
        assert not out[:, 2].any()
        assert reader.lengths(reader.keys[:2]).tolist() == [2, 4]
    assert len(root.ranges) - again <= 4, "a clip is one range, its part's places are known"
    reader.close()


def test_one_clip_is_one_range_and_memory_is_bounded(tmp_path):
    root = RemoteRoot(tmp_path)
    snapshot = store(root, payload="raw", native=False)
    root.copies_limit = 100_000  # all of it: whole parts, but a few clips are fetched alone
    reader = FrameReader(snapshot, few=True)
    reader.ahead(reader.keys)
    for key in reader.keys:
        reader.frames(key)
    asked = len(root.ranges)
    assert asked == 9 + 3 + 1, "a range a clip, an end a part, one schema"
    all_of(reader)
    assert len(root.ranges) == asked, "they are in memory"
    reader.close()
    parts = snapshot.parts("frames")
    small = rows.RowReader(parts, limit_bytes=parts[0].entry.bytes // 2)
    named = [(number // 3, key) for number, key in enumerate(reader.keys)]
    for start in range(9):
        small.ahead(named[start : start + 4])
        assert small.clip(named[start]).keys == (named[start][1],)
        assert small._bytes <= parts[0].entry.bytes
    small.close()
    assert FrameReader(snapshot)._rows is None, "what fits is copied whole, and verified"


def test_a_part_that_is_not_as_told_is_read_whole_and_a_damaged_one_is_told(tmp_path):
    root = RemoteRoot(tmp_path)
    snapshot = store(root, payload="raw", native=False, misplaced=True)
    reader = FrameReader(snapshot)
    for number in (0, 2, 3):
        wanted = clip_of(number, native=False).frames
        np.testing.assert_array_equal(reader.frames(KEYS[number]), wanted)
    assert len(root.whole) >= 1
    reader.close()
    part = snapshot.parts("frames")[2]
    path = tmp_path / part.artifact.folder / part.part
    data = bytearray(path.read_bytes())
    data[-200:] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="is damaged"):
        FrameReader(snapshot).frames(KEYS[8])


def test_what_is_next_is_begun_as_soon_as_another_was_read_and_nothing_twice(tmp_path):
    root = RemoteRoot(tmp_path)
    snapshot = store(root, payload="raw", native=False)
    root.copies_limit = 4 * snapshot.parts("frames")[0].entry.bytes // 3  # of nine clips, four
    reader = FrameReader(snapshot)
    keys, held = reader.keys, reader._rows._held
    reader.ahead(keys)
    assert len(held) == 4
    for number in range(0, 9, 3):
        some, next_ones = keys[number : number + 3], keys[number + 3 : number + 6]
        reader.lengths(some)
        assert {key for _, key in held} >= set(some), "they are read once more"
        for key in some:
            reader.frames(key)
        assert {key for _, key in held} >= set(next_ones), "without being told again"
    assert len(root.ranges) == 9 + 3 + 1, "a range a clip, an end a part, one schema"
    reader.close()


def test_a_batch_makes_room_for_the_next_one_before_it_is_whole(tmp_path, monkeypatch):
    root = RemoteRoot(tmp_path)
    snapshot = store(root, payload="raw", native=False)
    root.copies_limit = 8 * snapshot.parts("frames")[0].entry.bytes // 3  # of nine clips, eight
    reader = FrameReader(snapshot)
    eighth, ninth = reader.keys[7:]
    begun, fetch = threading.Event(), rows._Part.clip

    def fetched(part, key):
        if key == ninth:
            begun.set()
        elif key == eighth:  # it comes once the last one is on its way
            assert begun.wait(30), "nothing made room"
        return fetch(part, key)

    monkeypatch.setattr(rows._Part, "clip", fetched)
    seen = SeenFrames(max_frames=4)
    loader = ClipLoader(reader, max_frames=4, image_size=16)
    batches = loader.batches([reader.keys[:8], reader.keys[8:]], seen=seen)
    found = np.concatenate([batch.frames.numpy() for batch in batches])
    for frames, key in zip(found, reader.keys, strict=True):
        wanted = clip_of(int(key, 16), native=False).frames
        np.testing.assert_array_equal(frames[: len(wanted)], wanted)
    assert root.whole == []
    reader.close()
