"""What is probed ahead is what ingest would find, of the same file, under the same limits."""

import dataclasses
import threading

import pytest

from reelvec.configs.decoding import FileLimits
from reelvec.storage.corpora.own.folder import FolderReader
from reelvec.tasks.decoding import probes_ahead as module
from reelvec.tasks.decoding.files import probe_files
from reelvec.tasks.decoding.probes_ahead import ProbesAhead, begin_decoding, found_ahead
from tests.support import media

LIMITS = FileLimits()


@pytest.fixture
def folder(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    media.encode_kind(videos, "h264_mp4", frames=media.painted(12, width=64, height=48))
    (videos / "broken.mp4").write_bytes(b"no video")
    return videos


@pytest.fixture
def probed(folder):
    """All of the folder is probed."""
    ahead = ProbesAhead(str(folder), limits=LIMITS)
    ahead._thread.join(60)
    return ahead


def row(folder, *, broken=False):
    rows = FolderReader(str(folder)).read().videos
    (found,) = (one for one in rows if ("broken" in one.path) == broken)
    return dataclasses.replace(found, video_id="another", split="test", start_seconds=0.1)


def test_it_is_what_a_probe_finds_and_is_given_once(folder, probed):
    (expected,) = probe_files([row(folder)], limits=LIMITS)
    assert expected.content_hash and expected.packets
    assert probed.take(row(folder), limits=LIMITS) == expected
    assert probed.take(row(folder), limits=LIMITS) is None


def test_a_file_that_was_written_to_is_probed_anew(folder, probed):
    with open(row(folder).path, "ab") as file:
        file.write(b"more")
    assert probed.take(row(folder), limits=LIMITS) is None


def test_other_limits_and_failures_are_for_ingest(folder, probed):
    assert probed.take(row(folder), limits=FileLimits(max_pixels=64 * 48 - 1)) is None
    assert probed.take(row(folder, broken=True), limits=LIMITS) is None


def test_a_store_that_is_there_knows_its_videos(folder, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(module, "begin_imports", lambda: begun.append("imports"))
    monkeypatch.setattr(module, "ProbesAhead", lambda *_, **__: begun.append("probes"))
    monkeypatch.setattr(module, "_AHEAD", [])
    for store, rehash in [(tmp_path, False), (tmp_path / "new", True), ("s3://b/s", False)]:
        begin_decoding(str(folder), store=str(store), rehash=rehash)
    assert begun == ["imports"] * 3
    assert found_ahead(row(folder), limits=LIMITS) is None
    begin_decoding(str(folder), store=str(tmp_path / "new"), rehash=False)
    assert begun[3:] == ["imports", "probes"]


class Signalled(BaseException):
    """What a signal raises in threads at work."""


@pytest.mark.parametrize(
    ("error", "told"), [(Signalled, []), (OSError, []), (ValueError, [ValueError])]
)
def test_a_signal_ends_it_without_a_word_and_a_defect_is_told(folder, monkeypatch, error, told):
    def fails(videos, *, limits):
        raise error

    heard = []
    monkeypatch.setattr(module, "probe_files", fails)
    monkeypatch.setattr(threading, "excepthook", lambda said: heard.append(said.exc_type))
    ProbesAhead(str(folder), limits=LIMITS)._thread.join(60)
    assert heard == told
