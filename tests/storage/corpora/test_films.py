"""Drawn films: events are where their rows say, and a file is what its options say."""

import numpy as np
import pytest

from reelvec.configs.corpora import FilmCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.synthetic.drawing import draw, draw_film
from reelvec.storage.corpora.synthetic.film_corpus import FilmOptions
from reelvec.storage.corpora.synthetic.films import film_of
from reelvec.storage.corpora.synthetic.scenes import Scene, split_of
from tests.storage.corpora.contracts_corpora import CorpusReaderContract


class TestContract(CorpusReaderContract):
    @pytest.fixture
    def reader(self, tmp_path):
        corpus = FilmCorpus(kind="films", videos=2, events=2, fps=1, size=32)
        return open_corpus(corpus, store_dir=tmp_path)

    def test_a_film_is_a_row_and_so_are_its_events(self, listing):
        first = [v for v in listing.videos if v.video_id.startswith("film-000000")]
        assert [v.start_seconds is None for v in first] == [True, False, False]
        assert len({v.path for v in first}) == 1
        film = film_of(*split_of(0), events=2, seed=0)
        assert [(v.start_seconds, v.end_seconds) for v in first[1:]] == [
            (event.start, event.end) for event in film.events
        ]
        told = [c.text for c in listing.captions if c.video_id in {v.video_id for v in first}]
        assert told == [event.caption for event in film.events]


def test_the_schema_has_these_options():
    corpus = FilmCorpus(kind="films")
    assert FilmOptions(**corpus.model_dump(exclude={"kind", "windows"})) == FilmOptions()


def test_an_event_is_seen_when_it_is_said_to_be():
    for number in range(4):
        film = film_of("test", number, events=5, seed=1)
        frames = draw_film(film, fps=2, size=32)
        assert len(frames) == 2 * sum(s.seconds for s in film.stretches)
        scenes = [s.shows for s in film.stretches if isinstance(s.shows, Scene)]
        for scene, event in zip(scenes, film.events, strict=True):
            part = frames[int(2 * event.start) : int(2 * event.end)]
            assert np.array_equal(part, draw(scene, frames=len(part), size=32))
            assert 3 <= event.end - event.start <= 8


def test_some_events_follow_at_once_and_none_looks_like_what_is_before_it():
    gaps = set()
    for number in range(12):
        film = film_of("train", number, events=8, seed=0)
        gaps |= {b.start - a.end for a, b in zip(film.events, film.events[1:], strict=False)}
        for one, other in zip(film.stretches, film.stretches[1:], strict=False):
            looks = [getattr(s.shows, "background", s.shows) for s in (one, other)]
            assert looks[0] != looks[1]
    assert min(gaps) == 0 and max(gaps) == 5
