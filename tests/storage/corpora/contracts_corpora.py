"""What every corpus reader must do, whatever the layout it reads."""

from pathlib import Path

import pytest

from reelvec.storage.corpora.contract import CorpusListing, CorpusReader
from reelvec.storage.file_marks import FileMark
from reelvec.storage.records import CAPTION_SCHEMA, VIDEO_SCHEMA, records_to_table


class CorpusReaderContract:
    """Subclasses give a fixture ``reader`` over a corpus of at least two captioned videos."""

    @pytest.fixture
    def listing(self, reader: CorpusReader) -> CorpusListing:
        return reader.read()

    def test_reading_again_gives_the_same(self, reader, listing):
        again = reader.read()
        assert list(again.videos) == list(listing.videos)
        assert list(again.captions) == list(listing.captions)

    def test_ids_are_unique(self, listing):
        videos = [video.video_id for video in listing.videos]
        captions = [caption.caption_id for caption in listing.captions]
        assert len(videos) >= 2 and len(captions) >= 2
        assert len(set(videos)) == len(videos)
        assert len(set(captions)) == len(captions)

    def test_every_caption_describes_a_listed_video(self, listing):
        videos = {video.video_id for video in listing.videos}
        assert {caption.video_id for caption in listing.captions} <= videos

    def test_captions_have_text(self, listing):
        assert all(caption.text.strip() for caption in listing.captions)

    def test_paths_are_absolute(self, listing):
        assert all(Path(video.path).is_absolute() for video in listing.videos)

    def test_nothing_was_opened(self, listing):
        for video in listing.videos:
            assert video.content_hash == ""
            assert video.mark in (FileMark(), FileMark.at(video.path))  # as its folder shows it
            assert (video.codec, video.width, video.frames_counted) == ("", 0, 0)
            assert video.status == "ok"

    def test_windows_are_forward(self, listing):
        for video in listing.videos:
            if video.start_seconds is not None and video.end_seconds is not None:
                assert 0 <= video.start_seconds < video.end_seconds

    def test_listing_fits_the_tables(self, listing):
        assert records_to_table(listing.videos, schema=VIDEO_SCHEMA).num_rows > 0
        assert records_to_table(listing.captions, schema=CAPTION_SCHEMA).num_rows > 0
