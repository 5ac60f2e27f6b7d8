from dataclasses import replace

import pytest

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Caption, Video
from reelvec.storage.roots import open_root
from reelvec.tasks.training.items import (
    choose_items,
    commit_items,
    read_items,
    set_hash,
    trained_clips,
)


def video(name, split, key=None, **fields):
    return Video(name, f"/{name}", split, content_hash=key or name, **fields)


VIDEOS = [
    video("a", "train"),
    video("b", "val"),
    video("c", ""),
    video("d", "test"),
    video("e", "train", status="quarantined", reason="truncated"),
    video("f", "train"),
    video("g", "train", key="a", start_seconds=1.0, end_seconds=2.0),
]
CAPTIONS = [
    Caption(f"{v.video_id}#{n}", v.video_id, f"{v.video_id} {n}") for v in VIDEOS for n in (0, 1)
]
FRAMES = {"a", "b", "c", "d", "e", "a@1-2"}


def chosen(**options):
    return choose_items(
        VIDEOS, CAPTIONS, clips_with_frames=FRAMES, **{"selection_split": "val", **options}
    )


def test_roles_follow_splits_and_only_clips_with_frames_count():
    by_role = {
        role: sorted({i.video_id for i in chosen() if i.role == role})
        for role in ("train", "selection")
    }
    assert by_role == {"train": ["a", "c", "g"], "selection": ["b", "c"]}
    assert {i.video_id for i in chosen(selection_split="test") if i.role == "selection"} == {
        "c",
        "d",
    }


def test_a_window_is_a_clip_of_its_own():
    assert {i.clip_key for i in chosen() if i.video_id == "g"} == {"a@1-2"}


def test_joined_makes_one_paragraph_a_video():
    texts = {i.item_id: i.text for i in chosen(joined=True)}
    assert texts["train/a"] == "a 0 a 1"
    assert len(texts) == 5


def test_order_does_not_depend_on_the_corpus_order():
    reversed_ = choose_items(
        VIDEOS[::-1], CAPTIONS[::-1], clips_with_frames=FRAMES, selection_split="val"
    )
    assert reversed_ == chosen()


def test_hash_follows_text_and_clip():
    items = chosen()
    assert set_hash(items) == set_hash(items[::-1])
    assert (
        len(
            {
                set_hash(items),
                set_hash([replace(items[0], text="x"), *items[1:]]),
                set_hash([replace(items[0], clip_key="x"), *items[1:]]),
                set_hash(items[1:]),
            }
        )
        == 4
    )


@pytest.fixture
def artifact(tmp_path):
    return Artifact.open(open_root(tmp_path), kind="checkpoint", identity={"n": 1})


def test_commit_reads_back_and_does_nothing_twice(artifact):
    snapshot = commit_items(artifact, chosen())
    assert read_items(snapshot) == chosen()
    assert commit_items(artifact, chosen()).number == snapshot.number


def test_commit_replaces_another_set(artifact):
    commit_items(artifact, chosen())
    other = [replace(item, text=item.text + "!") for item in chosen()][1:]
    assert read_items(commit_items(artifact, other)) == other


def test_what_was_only_selected_on_was_not_trained_on(artifact):
    items = chosen()
    trained = trained_clips(commit_items(artifact, items))
    assert trained == {item.clip_key for item in items if item.role == "train"}
    assert trained < {item.clip_key for item in items}
