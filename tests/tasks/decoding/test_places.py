"""Places of decoders: so many at once, left with the last clip, none where nobody counts."""

import threading

import pytest

from reelvec.tasks.decoding import places as module
from reelvec.tasks.decoding.places import decoder_place, decoder_places


def free():
    """Places that nobody holds."""
    return module._OPEN[-1]._value


def test_one_more_waits_until_a_place_is_left():
    came = threading.Event()

    def wait():
        with decoder_place():
            came.set()

    with decoder_places(2), decoder_place(), decoder_place() as second:
        other = threading.Thread(target=wait)
        other.start()
        assert not came.wait(0.1)
        second.leave()
        assert came.wait(20)
        other.join()
        second.leave()  # a place that is left twice is one place
        assert free() == 1


def test_the_place_is_left_as_the_last_result_comes():
    with decoder_places(1), decoder_place() as place:
        assert [free() for _ in place.until_last("abc", count=3)] == [0, 0, 1]


def test_a_place_is_left_whatever_happens():
    with decoder_places(1):
        with pytest.raises(OSError, match="broken"), decoder_place():
            raise OSError("broken")
        assert free() == 1


def test_without_places_nobody_waits():
    with decoder_place(), decoder_place(), decoder_place():
        assert module._OPEN == []
