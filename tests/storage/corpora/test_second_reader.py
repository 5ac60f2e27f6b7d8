"""A listing of two processes is that of one: its naive twin."""

import os

import pytest

from reelvec.storage.corpora import second_reader
from reelvec.storage.corpora.discovery import walked
from reelvec.storage.corpora.folders import Folder
from reelvec.storage.corpora.second_reader import SecondReader


@pytest.fixture
def tree(tmp_path):
    """Folders in folders, links to some of them, and a name that is no UTF-8."""
    top = tmp_path / "videos"
    for number in range(40):
        here = top / f"{number % 4}" / f"{number:02d}"
        here.mkdir(parents=True)
        for name in (f"a{number}.mp4", "b.mkv", "no-video.txt"):
            (here / name).write_bytes(b"." * number)
    (top / "link").symlink_to(top / "0")
    (top / "0" / "up").symlink_to(top)
    (top / os.fsdecode(b"\xff")).mkdir()
    (top / os.fsdecode(b"\xff") / os.fsdecode(b"\xfe.mp4")).write_bytes(b"")
    return top


@pytest.fixture
def started(monkeypatch):
    """Second readers start at once and are waited for; yields theirs: (answers, processes)."""
    answers, processes = [], []
    begin, answer = second_reader._started, SecondReader.answer

    def started():
        process, line = begin()
        assert line.poll(None)
        processes.append(process)
        return process, line

    def answered(self, here):
        found = answer(self, here)
        answers.append(found)
        return found

    monkeypatch.setattr(second_reader, "MANY", 1)
    monkeypatch.setattr(second_reader, "_started", started)
    monkeypatch.setattr(SecondReader, "answer", answered)
    return answers, processes


def test_two_read_what_one_reads_in_the_same_order(tree, started, monkeypatch):
    found = list(walked(tree, looks=True, notes=[]))
    answers, (process,) = started
    assert sum(isinstance(folder, Folder) for folder in answers) > 10
    assert process.poll() is not None
    monkeypatch.setattr(second_reader, "MANY", 10**9)
    assert found == list(walked(tree, looks=True, notes=[]))
    assert len(started[1]) == 1


def test_a_second_reader_that_is_killed_is_not_missed(tree, started, monkeypatch):
    walk = walked(tree, looks=True, notes=[])
    found = [next(walk) for _ in range(8)]
    started[1][0].kill()
    found += walk
    assert len(started[1]) == 1
    monkeypatch.setattr(second_reader, "MANY", 10**9)
    assert found == list(walked(tree, looks=True, notes=[]))


def test_what_it_cannot_read_is_an_error_of_that_folder(tree, started):
    with SecondReader() as second:
        second.count(4)
        second.ask([("", tree / "nowhere")])
        with pytest.raises(FileNotFoundError):
            second.answer(tree / "nowhere")
        second.ask([("", tree)])
        assert second.answer(tree).folders


def test_a_walk_that_is_left_leaves_no_process(tree, started):
    walk = walked(tree, looks=True, notes=[])
    for _ in range(3):
        next(walk)
    walk.close()
    assert started[1][0].poll() is not None


def test_who_does_not_look_starts_none(tree, started):
    list(walked(tree, looks=False, notes=[]))
    assert not started[1]
