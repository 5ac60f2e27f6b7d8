"""Who hangs: told from what the processes say of themselves, and how long they say nothing."""

from types import SimpleNamespace

import pytest

from reelvec.tasks.training import heartbeat
from reelvec.tasks.training.heartbeat import Beat, Heartbeat, Watch

LIMIT = 60.0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class Processes:
    """Ranks 0, 1, …, each in its own way, watched once a second."""

    def __init__(self, world, monkeypatch):
        self.clock = Clock()
        monkeypatch.setattr(heartbeat, "time", self.clock)
        self.watch = Watch(world, limit=LIMIT, name="rank {}".format)
        self.number = 0
        self.moves = [0] * world

    def live(self, seconds, *ways):
        """Seconds in these ways: works, hangs, waits or silent; what was found."""
        for _ in range(int(seconds)):
            self.clock.now += 1
            self.number += 1
            for rank, way in enumerate(ways):
                self.moves[rank] += way == "works"
                if way != "silent":
                    beat = Beat(rank, self.number, self.moves[rank], way == "waits", "step 7")
                    self.watch.hear(beat)
            if fault := self.watch.fault():
                return fault
        return ""


@pytest.fixture
def processes(monkeypatch):
    return lambda world: Processes(world, monkeypatch)


def test_who_waits_does_not_hang(processes):
    two = processes(2)
    assert two.live(10 * LIMIT, "works", "waits") == ""


@pytest.mark.parametrize(("way", "said"), [("hangs", "not got on"), ("silent", "said nothing")])
def test_the_one_that_the_others_wait_for_is_named(processes, way, said):
    three = processes(3)
    assert three.live(30, "works", "works", "works") == ""
    fault = three.live(LIMIT + 5, "waits", way, "waits")
    assert fault.startswith("rank 1 hangs") and said in fault and "step 7" in fault
    assert "rank 0" not in fault and "rank 2" not in fault


def test_one_that_is_stopped_in_mid_wait_is_named(processes):
    two = processes(2)
    assert two.live(3, "waits", "waits") == ""
    assert two.live(LIMIT + 5, "waits", "silent").startswith("rank 1 hangs: it has said nothing")


def test_where_all_wait_it_is_who_has_done_least(processes):
    two = processes(2)
    assert two.live(5, "works", "hangs") == ""
    fault = two.live(LIMIT + 5, "waits", "waits")
    assert fault.startswith("rank 1 hangs") and "waiting for the others" in fault


def test_one_that_never_began_is_named(processes):
    """It is given time: it imports."""
    two = processes(2)
    assert two.live(LIMIT + 50, "waits", "silent") == ""
    fault = two.live(LIMIT, "waits", "silent")
    assert fault.startswith("rank 1 hangs") and "has not begun" in fault


def test_time_in_which_the_watcher_was_stopped_does_not_count(processes):
    one = processes(1)
    one.live(5, "hangs")
    one.clock.now += 10 * LIMIT
    assert one.watch.fault() == ""


def test_without_a_limit_nobody_hangs(processes):
    one = processes(1)
    one.watch.limit = 0.0
    assert one.live(10 * LIMIT, "silent") == ""


def test_a_process_tells_of_itself(monkeypatch):
    """What it is at, whether it waits, and that it computes."""
    heart, said, busy = Heartbeat(), [], iter([0.0, 0.0, 1.5, 1.6, 9.0])

    def sleep(_):
        if len(said) == 1:
            heart.works("step 3")
        if len(said) == 3:
            raise SystemExit

    clock = SimpleNamespace(process_time=lambda: next(busy), sleep=sleep)
    monkeypatch.setattr(heartbeat, "time", clock)
    with pytest.raises(SystemExit):
        heart._beat(2, said.append, True)
    assert [(b.rank, b.number, b.moves, b.doing) for b in said] == [
        (2, 1, 0, "starts"),
        (2, 2, 2, "step 3"),  # it got on, and it computed
        (2, 3, 2, "step 3"),
    ]
    with heart.waiting("summing"):
        assert (heart._waits, heart._doing) == (True, "summing")
    assert (heart._waits, heart._doing) == (False, "step 3")
