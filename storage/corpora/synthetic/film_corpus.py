"""Films: long drawn videos with events at known times, encoded to real video files."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.synthetic.drawing import draw_film
from reelvec.storage.corpora.synthetic.drawn import DrawnReader, check_codecs
from reelvec.storage.corpora.synthetic.films import Film, film_of
from reelvec.storage.corpora.synthetic.scenes import split_of
from reelvec.storage.records import Caption, Video

__all__ = ["RECIPE", "FilmOptions", "FilmReader"]

RECIPE = 1
"""Raised when code changes what is drawn, said or encoded."""


@dataclass(frozen=True, slots=True)
class FilmOptions:
    """See configs.corpora.FilmCorpus, whose fields and meanings these are."""

    videos: int = 48
    events: int = 8
    seed: int = 0
    fps: int = 4
    size: int = 64
    codecs: tuple[str, ...] = ("h264-mp4",)

    def __post_init__(self) -> None:
        check_codecs(self.codecs)

    def identity(self) -> dict[str, object]:
        """What decides a file's bytes."""
        options = {key: value for key, value in asdict(self).items() if key != "videos"}
        return {"recipe": RECIPE, "drawn": "films", **options}


class FilmReader(DrawnReader):
    """Draws what is not there yet, then lists it."""

    prefix = "film"
    _options: FilmOptions

    def read(self) -> CorpusListing:
        """Generate the missing films and list all; see ``CorpusReader.read``.

        A film is a row, and so is each of its events: a piece of the file, with its caption.
        """
        self.generate()
        videos, captions = [], []
        for index in range(self._options.videos):
            film_id, path = f"film-{index:06d}", str(self.directory / self._name(index))
            split, _ = split_of(index)
            videos.append(Video(film_id, path, split))
            for number, event in enumerate(self._film(index).events):
                piece = f"{film_id}-{number:02d}"
                videos.append(
                    Video(piece, path, split, start_seconds=event.start, end_seconds=event.end)
                )
                captions.append(Caption(f"{piece}#0", piece, event.caption))
        return CorpusListing(tuple(videos), tuple(captions))

    def _draw(self, index: int) -> np.ndarray:
        options = self._options
        return draw_film(self._film(index), fps=options.fps, size=options.size)

    def _film(self, index: int) -> Film:
        split, number = split_of(index)
        options = self._options
        return film_of(split, number, events=options.events, seed=options.seed)
