"""Captioned moving shapes: drawn by us, encoded to real video files, any number of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np

from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.synthetic.drawing import draw
from reelvec.storage.corpora.synthetic.drawn import DrawnReader, check_codecs
from reelvec.storage.corpora.synthetic.scenes import Scene, captions_of, scene_of, split_of
from reelvec.storage.records import Caption, Video

__all__ = ["RECIPE", "SyntheticOptions", "SyntheticReader"]

RECIPE = 2
"""Raised when code changes what is drawn, said or encoded."""


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """See configs.schema.SyntheticCorpus, whose fields and meanings these are."""

    videos: int = 360
    seed: int = 0
    seconds: float = 2.0
    fps: int = 8
    size: int = 96
    captions_per_video: int = 1
    codecs: tuple[str, ...] = ("h264-mp4", "mpeg4-avi", "vp9-webm", "h264-mkv")
    motion_only: float = 0.0

    def __post_init__(self) -> None:
        check_codecs(self.codecs)

    def identity(self) -> dict[str, object]:
        """What decides a file's bytes."""
        counts = ("videos", "captions_per_video")
        options = {key: value for key, value in asdict(self).items() if key not in counts}
        return {"recipe": RECIPE, **options}


class SyntheticReader(DrawnReader):
    """Draws what is not there yet, then lists it."""

    prefix = "shapes"
    _options: SyntheticOptions

    def read(self) -> CorpusListing:
        """Generate the missing videos and list all; see ``CorpusReader.read``."""
        self.generate()
        options = self._options
        videos, captions = [], []
        scenes = [self._scene(index) for index in range(options.videos)]
        units = Counter(scene.unit for _, scene in scenes)
        for index, (split, scene) in enumerate(scenes):
            video_id = f"shapes-{index:06d}"
            videos.append(Video(video_id, str(self.directory / self._name(index)), split))
            subset = "motion" if units[scene.unit] == 2 else ""
            texts = captions_of(scene, count=options.captions_per_video)
            captions += [
                Caption(f"{video_id}#{number}", video_id, text, subset)
                for number, text in enumerate(texts)
            ]
        return CorpusListing(tuple(videos), tuple(captions))

    def _draw(self, index: int) -> np.ndarray:
        options = self._options
        frames = max(1, round(options.seconds * options.fps))
        return draw(self._scene(index)[1], frames=frames, size=options.size)

    def _scene(self, index: int) -> tuple[str, Scene]:
        split, number = split_of(index)
        options = self._options
        return split, scene_of(split, number, seed=options.seed, motion_only=options.motion_only)
