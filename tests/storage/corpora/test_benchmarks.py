"""The seven layouts read alike: the same pairs, strictly, in linear time."""

import json
import pickle
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from reelvec.storage.corpora import open_corpus
from reelvec.storage.errors import CorpusError
from tests.resources import ANNOTATIONS
from tests.storage.corpora.contracts_corpora import CorpusReaderContract
from tests.support.corpus_layouts import LAYOUTS, Item, Layout, some_items, write_layout

PROTOCOLS = [
    ("msrvtt", "9k"),
    ("msrvtt", "7k"),
    ("msrvtt", "full"),
    ("msvd", "default"),
    ("lsmdc", "default"),
    ("didemo", "default"),
    ("activitynet", "default"),
    ("vatex", "hgr"),
    ("vatex", "random1k5"),
    ("adaclip", "sentences"),
    ("adaclip", "paragraph"),
]
WITHOUT_VAL = [("msrvtt", "9k"), ("msrvtt", "7k"), ("activitynet", "default")]


def read(config):
    return open_corpus(config, store_dir="/nowhere").read()


@pytest.mark.parametrize(("kind", "protocol"), PROTOCOLS)
class TestContract(CorpusReaderContract):
    @pytest.fixture
    def reader(self, tmp_path, kind, protocol):
        layout = write_layout(kind, tmp_path, some_items(), protocol=protocol)
        return open_corpus(layout.config, store_dir=tmp_path)


@pytest.mark.parametrize(("kind", "protocol"), PROTOCOLS)
def test_all_layouts_hold_the_same_pairs(tmp_path, kind, protocol):
    items = some_items()
    layout = write_layout(kind, tmp_path, items, protocol=protocol)
    listing = read(layout.config)
    splits = {video.video_id: video.split for video in listing.videos}
    pairs = {
        (layout.names[caption.video_id], splits[caption.video_id], caption.text)
        for caption in listing.captions
    }
    left_out = {"val"} if (kind, protocol) in WITHOUT_VAL else set()
    expected = {(i.name, i.split, i.captions[0]) for i in items if i.split not in left_out}
    assert pairs == expected
    assert len(listing.captions) == len(expected)
    assert listing.notes == ()


@pytest.mark.parametrize(
    ("kind", "protocol", "train", "test"),
    [
        ("msrvtt", "9k", 3, 1),
        ("msrvtt", "full", 3, 3),
        ("msvd", "default", 3, 3),
        ("lsmdc", "default", 3, 3),
        ("didemo", "default", 1, 1),
        ("activitynet", "default", 1, 1),
        ("vatex", "hgr", 3, 3),
        ("adaclip", "sentences", 3, 3),
        ("adaclip", "paragraph", 1, 1),
    ],
)
def test_captions_of_a_video_by_protocol(tmp_path, kind, protocol, train, test):
    layout = write_layout(kind, tmp_path, some_items(captions=3), protocol=protocol)
    listing = read(layout.config)
    splits = {video.video_id: video.split for video in listing.videos}
    counts = Counter(caption.video_id for caption in listing.captions)
    assert {counts[v] for v in splits if splits[v] == "train"} == {train}
    assert {counts[v] for v in splits if splits[v] == "test"} == {test}
    if train == 1:
        assert listing.captions[0].text == (
            "caption 0 of clip 0 caption 1 of clip 0 caption 2 of clip 0"
        )
    else:
        first = listing.videos[0].video_id
        numbered = [c.caption_id for c in listing.captions if c.video_id == first]
        assert numbered == [f"{first}#{number}" for number in range(3)]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_files_are_found_and_missing_ones_are_listed(tmp_path, kind):
    source = tmp_path / "source.mkv"
    source.write_bytes(b"x")
    items = some_items(6)
    items = [Item(i.name, i.split, i.captions, source if n else None) for n, i in enumerate(items)]
    layout = write_layout(kind, tmp_path / "corpus", items)
    listing = read(layout.config)
    for video in listing.videos:
        assert Path(video.path).exists() == (layout.names[video.video_id] != "clip00000")
        assert Path(video.path).is_relative_to(layout.config.videos)


def test_windows(tmp_path):
    items = [Item("a", "train", ("x",), seconds=12.2), Item("b", "test", ("y",), seconds=7)]
    activitynet = read(write_layout("activitynet", tmp_path / "a", items).config)
    assert [(v.start_seconds, v.end_seconds) for v in activitynet.videos] == [(0, 13), (0, 7)]
    didemo = read(write_layout("didemo", tmp_path / "d", items).config)
    assert [(v.start_seconds, v.end_seconds) for v in didemo.videos] == [(0, 31), (0, 31)]
    msvd = read(write_layout("msvd", tmp_path / "m", items).config)
    assert [(v.start_seconds, v.end_seconds) for v in msvd.videos] == [(None, None)] * 2


def test_activitynet_files_may_keep_their_prefix(tmp_path):
    layout = write_layout("activitynet", tmp_path, some_items())
    (Path(layout.config.videos) / "v_clip00000.webm").write_bytes(b"x")
    video = read(layout.config).videos[0]
    assert (video.video_id, Path(video.path).name) == ("clip00000", "v_clip00000.webm")


def test_didemo_ids_keep_their_inner_extension(tmp_path):
    layout = write_layout("didemo", tmp_path, some_items())
    folder = Path(layout.config.videos)
    (folder / "12345@N00_clip00000.mov").write_bytes(b"x")
    (folder / "12345@N00_clip00001.mov.mp4").write_bytes(b"x")
    names = [Path(video.path).name for video in read(layout.config).videos[:2]]
    assert names == ["12345@N00_clip00000.mov", "12345@N00_clip00001.mov.mp4"]


def test_lsmdc_ids_may_repeat(tmp_path):
    layout = write_layout("lsmdc", tmp_path, some_items(captions=2))
    listing = read(layout.config)
    assert len(listing.captions) == 2 * len(listing.videos)


def test_adaclip_takes_val_for_test_where_there_is_none(tmp_path):
    layout = write_layout("adaclip", tmp_path, some_items())
    (layout.annotations / "test.json").unlink()
    splits = Counter(video.split for video in read(layout.config).videos)
    assert splits == {"train": 8, "test": 2}


def test_annotations_of_other_videos_are_counted(tmp_path):
    layout = write_layout("msvd", tmp_path, some_items())
    file = layout.annotations / "raw-captions.pkl"
    words = pickle.loads(file.read_bytes())
    file.write_bytes(pickle.dumps({**words, "other": [["one"]]}))
    assert read(layout.config).notes == (f"{file}: 1 of 13 videos are in no split of it",)


def test_paragraphs_are_of_their_own_split(tmp_path):
    """DiDeMo's test_data.json may describe training videos: those have their own file."""
    layout = write_layout("didemo", tmp_path, some_items())
    captions = read(layout.config).captions
    train, test = (layout.annotations / f"{name}_data.json" for name in ("train", "test"))
    test.write_text(json.dumps(json.loads(test.read_text()) + json.loads(train.read_text())))
    listing = read(layout.config)
    assert listing.captions == captions
    assert listing.notes == (f"{test}: 8 of 10 videos are in no split of it",)


def ids_in(name: str) -> list[str]:
    lines = (ANNOTATIONS / name).read_text().split()
    return [line.split(",")[0] for line in lines]


def with_real_splits(tmp_path: Path, kind: str, protocol: str) -> Layout:
    """A layout whose split files are the real ones and whose captions are small ones."""
    layout = write_layout(kind, tmp_path, some_items(), protocol=protocol)
    for file in (ANNOTATIONS / kind).iterdir():
        (layout.annotations / file.name).write_bytes(file.read_bytes())
    if kind == "msrvtt":
        ids = [f"video{number}" for number in range(10000)]
        sentences = [{"video_id": i, "caption": f"of {i}"} for i in ids]
        content = {"videos": [{"video_id": i} for i in ids], "sentences": sentences}
        (layout.annotations / "MSRVTT_data.json").write_text(json.dumps(content))
    elif kind == "msvd":
        ids = [i for s in ("train", "val", "test") for i in ids_in(f"msvd/{s}_list.txt")]
        words = {i: [["of", i]] for i in ids}
        (layout.annotations / "raw-captions.pkl").write_bytes(pickle.dumps(words))
    else:
        ids = [i for s in ("train", "val", "test") for i in ids_in(f"vatex/{s}_list.txt")]
        content = {i: {"enCap": [f"of {i}"]} for i in ids}
        (layout.annotations / "vatex_data.json").write_text(json.dumps(content))
    return layout


@pytest.mark.parametrize(
    ("kind", "protocol", "expected"),
    [
        ("msrvtt", "9k", {"train": 9000, "test": 1000}),
        ("msrvtt", "7k", {"train": 7010, "test": 1000}),
        ("msrvtt", "full", {"train": 6513, "val": 497, "test": 2990}),
        ("msvd", "all", {"train": 1200, "val": 100, "test": 670}),
        ("vatex", "hgr", {"train": 25991, "val": 1500, "test": 1500}),
        ("vatex", "random1k5", {"train": 25991, "val": 1500, "test": 1500}),
    ],
)
def test_counts_of_the_real_splits(tmp_path, kind, protocol, expected):
    listing = read(with_real_splits(tmp_path, kind, protocol).config)
    assert Counter(video.split for video in listing.videos) == expected
    assert len(listing.captions) == sum(expected.values())


@pytest.mark.slow
def test_a_large_corpus_is_read_within_seconds(tmp_path):
    items = [
        Item(f"c{n}", "test" if n % 10 == 0 else "train", tuple(f"{k} of {n}" for k in range(20)))
        for n in range(10000)
    ]
    layout = write_layout("msrvtt", tmp_path, items, protocol="full")
    start = time.process_time()
    listing = read(layout.config)
    seconds = time.process_time() - start
    assert (len(listing.videos), len(listing.captions)) == (10000, 200000)
    assert seconds < 15
    tracemalloc.start()
    read(layout.config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 512 * 2**20


def edit(layout: Layout, name: str, old: str, new: str) -> Path:
    file = layout.annotations / name
    content = file.read_bytes()
    assert old.encode() in content
    file.write_bytes(content.replace(old.encode(), new.encode(), 1))
    return file


def refusal(layout: Layout) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        read(layout.config)
    assert caught.value.path
    return caught.value


@pytest.mark.parametrize(
    ("kind", "protocol", "name", "old", "new", "line", "message"),
    [
        # doubled ids, by file and line
        ("msrvtt", "9k", "MSRVTT_train.9k.csv", "video1\n", "video0\n", 3, "named twice"),
        ("msvd", "all", "train_list.txt", "clip00001", "clip00000", 2, "named twice"),
        ("vatex", "hgr", "train_list.txt", "clip00001", "clip00000", 2, "named twice"),
        ("didemo", "paragraph", "val_list.txt", "clip00008", "clip00002", 2, "named twice"),
        ("activitynet", "val1", "train_ids.json", "v_clip00001", "v_clip00000", 1, "named twice"),
        ("adaclip", "sentences", "train.json", "clip00001", "clip00000", 10, "stands twice"),
        ("activitynet", "val1", "val_1.json", "v_clip00011", "v_clip00005", 1, "stands twice"),
        # splits that share a video
        ("msrvtt", "7k", "MSRVTT_JSFUSION_test.csv", "video5", "video1", 2, "splits share no"),
        ("msvd", "all", "test_list.txt", "clip00005", "clip00000", 1, "splits share no video"),
        ("lsmdc", "public-1000", "LSMDC16_annos_val.csv", "clip00002", "clip00000", 1, "splits"),
        ("vatex", "hgr", "test_list.txt", "clip00005", "clip00001", 1, "splits share no video"),
        ("adaclip", "sentences", "test.json", "clip00005", "clip00000", 2, "splits share no"),
        # captions of unknown videos, videos without captions
        ("msrvtt", "9k", "MSRVTT_data.json", '"video_id": "video0", "caption"',
         '"video_id": "videoX", "caption"', 1, "which `videos` does not list"),
        ("msrvtt", "9k", "MSRVTT_train.9k.csv", "video1\n", "video999\n", 3, "has no caption"),
        ("vatex", "hgr", "test_list.txt", "clip00005", "clipX", 1, "has no caption"),
        ("didemo", "paragraph", "val_list.txt", "clip00002", "clipX", 1, "has no caption"),
        ("activitynet", "val1", "train_ids.json", "v_clip00001", "v_X", 1, "has no entry"),
        ("adaclip", "sentences", "train.json", '"caption 0 of clip 1"', "", 10, "has no caption"),
        # columns and formats
        ("msrvtt", "9k", "MSRVTT_train.9k.csv", "video_id", "video", 1, "column 'video_id' is"),
        ("msrvtt", "9k", "MSRVTT_JSFUSION_test.csv", "sentence", "text", 1, "column 'sentence'"),
        ("msrvtt", "9k", "MSRVTT_JSFUSION_test.csv", ",caption", ",a,caption", 2, "quote values"),
        ("msrvtt", "9k", "MSRVTT_data.json", '"sentences"', '"lines"', 0, "`sentences` is None"),
        ("lsmdc", "public-1000", "LSMDC16_annos_training.csv", "\t", " ", 1, "5 columns"),
        ("didemo", "paragraph", "train_data.json", '"description"', '"d"', 1, "`description`"),
        ("activitynet", "val1", "train.json", "2.0", "-2.0", 1, "`duration` is -2.0"),
        ("activitynet", "val1", "train.json", "2.0", "NaN", 1, "`duration` is nan"),
        ("activitynet", "val1", "train_ids.json", "v_clip00001", "clip1", 1, "begin with v_"),
        ("vatex", "hgr", "vatex_data.json", "enCap", "en", 1, "`enCap` is None"),
        ("vatex", "hgr", "vatex_data.json", "{", "", 1, "not JSON"),
        ("vatex", "hgr", "vatex_data.json", '"caption 0 of clip 0"', "7", 1, "caption is text"),
        ("vatex", "hgr", "vatex_data.json", '"caption 0 of clip 0"', '" "', 1, "caption is text"),
        ("vatex", "hgr", "vatex_data.json", "caption 0 of clip 0", "\\\\ud800", 1, "is text"),
    ],
)  # fmt: skip
def test_wrong_annotations_are_named(tmp_path, kind, protocol, name, old, new, line, message):
    layout = write_layout(kind, tmp_path, some_items(), protocol=protocol)
    file = edit(layout, name, old, new.replace("\\\\", "\\"))
    error = refusal(layout)
    assert message in str(error)
    assert str(error).startswith(f"{file}, line {line}:" if line else f"{file}:")
    assert (error.path, error.line) == (str(file), line)


@pytest.mark.parametrize(("kind", "protocol"), PROTOCOLS)
def test_every_file_is_needed_and_is_utf8(tmp_path, kind, protocol):
    layout = write_layout(kind, tmp_path, some_items(), protocol=protocol)
    for file in sorted(layout.annotations.iterdir()):
        if (kind, file.name) == ("adaclip", "test.json"):
            continue
        content = file.read_bytes()
        file.unlink()
        assert "no such file" in str(refusal(layout)) and file.name in str(refusal(layout))
        if file.suffix != ".pkl":
            lines = content.split(b"\n")
            lines[-1] += b"\xe9t\xe9"
            file.write_bytes(b"\n".join(lines))
            assert refusal(layout).line == len(lines)
            assert "byte 0xe9 is not UTF-8" in str(refusal(layout))
        file.write_bytes(content)


def test_two_files_of_one_video_are_refused(tmp_path):
    layout = write_layout("msvd", tmp_path, some_items())
    for extension in (".mp4", ".avi"):
        (Path(layout.config.videos) / f"clip00000_10_20{extension}").write_bytes(b"x")
    assert "both answer to 'clip00000_10_20'" in str(refusal(layout))


def test_unknown_protocols_and_folders_are_refused(tmp_path):
    layout = write_layout("msrvtt", tmp_path, some_items())
    with pytest.raises(CorpusError, match=r"'8k' is unknown.*9k, 7k, full"):
        read(layout.config.model_copy(update={"protocol": "8k"}))
    with pytest.raises(CorpusError, match="no such folder"):
        read(layout.config.model_copy(update={"videos": str(tmp_path / "nowhere")}))


class Runs:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": [[Runs()]]}), "it wants to run builtins.print"),
        (b"cos\nsystem\n(S'echo ran'\ntR.", "it wants to run os.system"),
        (pickle.dumps({"a": [["b"]]})[:-3], "not a pickle of plain"),
        (b"", "not a pickle of plain"),
        (pickle.dumps([1]), "expected id -> captions"),
        (pickle.dumps({"a": "b"}), "'a': expected a text id"),
        (pickle.dumps({"a": ["b"]}), "caption 'b' is no list of words"),
        (pickle.dumps({"a": [[1]]}), "caption [1] is no list of words"),
        (b"\x80\x02}U\x01aU\x01\xffs.", "not UTF-8"),
    ],
)
def test_pickles_run_nothing(tmp_path, capsys, content, message):
    layout = write_layout("msvd", tmp_path, some_items())
    (layout.annotations / "raw-captions.pkl").write_bytes(content)
    assert message in str(refusal(layout))
    assert capsys.readouterr().out == ""


def test_pickles_of_python_2_are_read(tmp_path):
    layout = write_layout("msvd", tmp_path, some_items(3))
    ids = [video_id.encode() for video_id in layout.names]
    entries = b"".join(b"U" + bytes([len(i)]) + i + b"]](U\x01aU\x01beas" for i in ids)
    (layout.annotations / "raw-captions.pkl").write_bytes(b"\x80\x02}" + entries + b".")
    assert {caption.text for caption in read(layout.config).captions} == {"a b"}
