"""The walk over a folder: one bad entry costs a row or a note, never the corpus."""

import os
from dataclasses import astuple
from pathlib import Path

import pytest

from reelvec.configs.schema import BenchmarkCorpus, FolderCorpus
from reelvec.storage.corpora import folders, open_corpus
from reelvec.storage.corpora.check import check_corpus
from reelvec.storage.corpora.discovery import video_files, walked
from reelvec.storage.errors import CorpusError
from reelvec.storage.file_marks import MARK_FIELDS, FileMark
from tests.support.corpus_layouts import some_items, write_layout


@pytest.fixture
def folder(tmp_path):
    """Every kind of entry that is no good, and two videos."""
    folder = tmp_path / "videos"
    (folder / "sub.mp4").mkdir(parents=True)  # a folder with a video's name
    for name in ("a.mp4", "sub.mp4/b.mkv"):
        (folder / name).write_bytes(b"")
    for name in ("loop.mp4", "loop"):
        (folder / name).symlink_to(folder / name)
    (folder / "gone.mp4").symlink_to(folder / "nowhere")
    (folder / "gone").symlink_to(folder / "nowhere")
    (folder / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.mp4")
    os.mkfifo(folder / "pipe")
    return folder


LISTED = ("a.mp4", "gone.mp4", "loop.mp4", "pipe.mp4", "sub.mp4/b.mkv")


def forbid(monkeypatch, *names):
    """These folders cannot be read; the tests may run as root, whom no permission stops."""
    opened = os.open

    def forbidden(path, flags):
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags)

    monkeypatch.setattr(folders.os, "open", forbidden)


def test_links_to_themselves_and_pipes_are_rows_if_they_have_a_videos_name(folder):
    found = video_files(folder)
    assert found.paths == LISTED
    assert found.notes == ()


def test_a_walk_sees_of_each_file_what_its_path_shows(folder):
    (folder / "sub.mp4" / "b.mkv").write_bytes(b"some bytes")
    (folder / "link.mp4").symlink_to(folder / "sub.mp4" / "b.mkv")
    seen = {}
    for prefix, here in walked(folder, looks=True, notes=[]):
        marks = zip(*[iter(here.marks)] * len(MARK_FIELDS), strict=True)
        seen |= dict(zip((prefix + name for name in here.names), marks, strict=True))
    assert sorted(seen) == sorted([*LISTED, "link.mp4"])
    assert seen == {path: astuple(FileMark.at(str(folder / path))) for path in seen}
    assert seen["link.mp4"] == seen["sub.mp4/b.mkv"] != seen["pipe.mp4"]


def test_a_folder_that_cannot_be_read_is_a_note(folder, monkeypatch):
    (folder / "lost+found").mkdir()
    (folder / "lost+found" / "c.mp4").write_bytes(b"")
    forbid(monkeypatch, "lost+found")
    found = video_files(folder)
    assert found.paths == LISTED
    (note,) = found.notes
    assert note.startswith(
        f"{folder / 'lost+found'}: the folder cannot be read (Permission denied)"
    )
    listing = open_corpus(FolderCorpus(videos=str(folder)), store_dir="/nowhere").read()
    assert (len(listing.videos), listing.notes) == (5, (note,))


def test_many_such_folders_are_counted(folder, monkeypatch):
    names = [f"lost{number}" for number in range(8)]
    for name in names:
        (folder / name).mkdir()
    forbid(monkeypatch, *names)
    notes = video_files(folder).notes
    assert len(notes) == 6 and notes[-1] == "3 more folders cannot be read"


def test_the_folder_itself_must_be_readable(folder, monkeypatch):
    forbid(monkeypatch, "videos")
    with pytest.raises(CorpusError, match="videos: the folder cannot be read"):
        video_files(folder)


def test_benchmarks_tell_it_too(tmp_path, monkeypatch):
    layout = write_layout("msvd", tmp_path, some_items())
    config = layout.config
    lost = Path(config.videos) / "lost+found"
    lost.mkdir(parents=True)
    forbid(monkeypatch, "lost+found")
    assert isinstance(config, BenchmarkCorpus)
    assert "lost+found: the folder" in open_corpus(config, store_dir="/nowhere").read().notes[-1]
    found = check_corpus("msvd", videos=config.videos, annotations=config.annotations)
    assert [note for note in found.notes if "lost+found" in note]
