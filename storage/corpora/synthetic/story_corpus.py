"""Stories: drawn clips that tell models apart, encoded to real video files."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from reelvec.configs.corpora import StoryKind
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.synthetic.drawing import draw_story
from reelvec.storage.corpora.synthetic.drawn import DrawnReader, check_codecs
from reelvec.storage.corpora.synthetic.scenes import split_of
from reelvec.storage.corpora.synthetic.stories import Story, check_count, story_of
from reelvec.storage.records import Caption, Video

__all__ = ["RECIPE", "StoryOptions", "StoryReader"]

RECIPE = 1
"""Raised when code changes what is drawn, said or encoded."""


@dataclass(frozen=True, slots=True)
class StoryOptions:
    """See configs.corpora.StoryCorpus, whose fields and meanings these are."""

    about: StoryKind
    videos: int = 960
    seed: int = 0
    fps: int = 2
    size: int = 32
    codecs: tuple[str, ...] = ("h264-mp4",)

    def __post_init__(self) -> None:
        check_codecs(self.codecs)
        check_count(self.about, self.videos)

    def identity(self) -> dict[str, object]:
        """What decides a file's bytes."""
        options = {key: value for key, value in asdict(self).items() if key != "videos"}
        return {"recipe": RECIPE, "drawn": "stories", **options}


class StoryReader(DrawnReader):
    """Draws what is not there yet, then lists it."""

    prefix = "story"
    _options: StoryOptions

    def read(self) -> CorpusListing:
        """Generate the missing videos and list all; see ``CorpusReader.read``."""
        self.generate()
        videos, captions = [], []
        for index in range(self._options.videos):
            video_id = f"story-{index:06d}"
            path = str(self.directory / self._name(index))
            videos.append(Video(video_id, path, split_of(index)[0]))
            captions.append(Caption(f"{video_id}#0", video_id, self._story(index).caption, ""))
        return CorpusListing(tuple(videos), tuple(captions))

    def _draw(self, index: int) -> np.ndarray:
        return draw_story(self._story(index), size=self._options.size)

    def _story(self, index: int) -> Story:
        split, number = split_of(index)
        return story_of(self._options.about, split, number, seed=self._options.seed)
