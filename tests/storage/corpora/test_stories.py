"""Drawn stories: what one picture shows does not tell them apart, and captions describe one."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from reelvec.configs.corpora import StoryCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.synthetic.drawing import draw_story
from reelvec.storage.corpora.synthetic.scenes import split_of
from reelvec.storage.corpora.synthetic.stories import story_of
from reelvec.storage.corpora.synthetic.story_corpus import StoryOptions
from reelvec.storage.errors import CorpusError
from tests.storage.corpora.contracts_corpora import CorpusReaderContract


class TestContract(CorpusReaderContract):
    @pytest.fixture
    def reader(self, tmp_path):
        return open_corpus(
            StoryCorpus(kind="stories", about="moments", videos=12), store_dir=tmp_path
        )


def stories(about, split, count):
    return [story_of(about, split, number, seed=0) for number in range(count)]


def shown(story):
    """Colour and shape of all things, whatever the time and place."""
    return Counter(
        (thing.colour, thing.shape) for picture in story.pictures for thing in picture.things
    )


def test_the_schema_has_these_options():
    corpus = StoryCorpus(kind="stories", about="order")
    assert StoryOptions(**corpus.model_dump(exclude={"kind", "windows"})) == StoryOptions(
        about="order"
    )


@pytest.mark.parametrize(("about", "ways"), [("order", 6), ("motion", 4)])
def test_stories_of_one_unit_differ_in_time_alone(about, ways):
    units = defaultdict(list)
    for story in stories(about, "test", 10 * ways):
        units[story.unit].append(story)
    assert {len(unit) for unit in units.values()} == {ways}
    for unit in units.values():
        assert len({story.caption for story in unit}) == ways
        assert len({tuple(sorted(shown(story).items())) for story in unit}) == 1


def test_where_a_thing_goes_says_nothing_of_the_way():
    """Each place is visited as often going left as going right, at whatever time is not known."""
    visits = Counter()
    for story in stories("motion", "test", 240):
        for row, (words, place) in enumerate(
            zip(story.caption.split(" over "), (0, 1), strict=True)
        ):
            way = words.split()[-1]
            columns = sorted(picture.things[place].centre[0] for picture in story.pictures)
            visits[row, way, columns[0]] += 1
            assert (
                columns
                == [p.things[place].centre[0] for p in story.pictures][
                    :: 1 if way == "right" else -1
                ]
            )
    assert len(visits) == 16
    assert all(visits[row, "left", x] > 15 and visits[row, "right", x] > 15 for row, _, x in visits)


@pytest.mark.parametrize(
    ("about", "alike"), [("order", 0), ("motion", 0), ("details", 3), ("moments", 3)]
)
def test_a_caption_describes_one_test_video_and_no_training_video(about, alike):
    told = {story.caption for story in stories(about, "test", 240)}
    assert len(told) >= 240 - alike
    trained = {story.caption for story in stories(about, "train", 640)}
    assert len(told & trained) <= alike


def test_captions_name_three_of_the_things_that_are_shown():
    for about, things in (("details", 6), ("moments", 3)):
        for story in stories(about, "train", 30):
            named = [part.split(" on ")[0] for part in story.caption.split(" and ")]
            seen = Counter(f"{colour} {shape}" for colour, shape in shown(story).elements())
            assert len(named) == 3 and sum(seen.values()) == things
            assert not Counter(named) - seen
    empty = [sum(not p.things for p in s.pictures) for s in stories("moments", "train", 30)]
    assert set(empty) == {9}


def test_pictures_show_it():
    pictures = draw_story(story_of("moments", "test", 0, seed=0), size=32)
    story = story_of("moments", "test", 0, seed=0)
    assert pictures.shape == (12, 32, 32, 3) and pictures.dtype == np.uint8
    flat = [(picture == picture[0, 0]).all() for picture in pictures]
    assert flat == [not picture.things for picture in story.pictures]


def test_a_kept_number_of_videos_is_the_same_in_a_larger_corpus_and_too_many_are_refused(tmp_path):
    small, large = (
        open_corpus(StoryCorpus(kind="stories", about="order", videos=n), store_dir=tmp_path)
        for n in (5, 8)
    )
    assert small.directory == large.directory
    assert large.read().videos[:5] == small.read().videos
    assert split_of(2)[0] == "test"
    with pytest.raises(CorpusError, match="at most"):
        open_corpus(StoryCorpus(kind="stories", about="motion", videos=961), store_dir=tmp_path)
