"""The table `auto` reads says what the decoders are found to do, and `auto` does what it says."""

import dataclasses
import json

import numpy as np
import pytest

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.video import decoder_table, decoders
from reelvec.storage.video.decoder_table import TABLE_PATH, DecoderTable, FileKind, Verdict, kind_of
from reelvec.storage.video.decoders import READERS, read_frames
from reelvec.storage.video.probe import probe
from tests.storage.video.contracts import SIZE, barcodes, found, is_right, notices_damage
from tests.support import media

SHIPPED = json.loads(TABLE_PATH.read_text())
ROWS = SHIPPED["kinds"]
NAMES = [row["seen"][0] for row in ROWS]


# What it says is what is found.


def test_every_file_of_the_tests_is_in_it_once():
    assert sorted(name for row in ROWS for name in row["seen"]) == sorted(media.KINDS)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_it_says_what_is_found(row):
    """A decoder is right on a kind if it is on all files of the kind; made again from the files."""
    assert {kind_of(found(name)) for name in row["seen"]} == {FileKind(**row["kind"])}
    right = {d for d in READERS if all(is_right(d, name) for name in row["seen"])}
    assert set(row["right"]) == right
    assert set(row["cost"]) == right
    assert row["cost"]["selective"] == 1.0  # the unit


@pytest.mark.parametrize("decoder", READERS)
def test_who_notices_damage_is_found_again(decoder, tmp_path):
    assert notices_damage(decoder, tmp_path) == (decoder in SHIPPED["notices_damage"])


def test_decord_is_wrong_somewhere_and_so_the_table_is_needed():
    wrong = {name for row in ROWS if "decord" not in row["right"] for name in row["seen"]}
    assert {"h264_avi_no_b", "h264_open_mp4", "edit_list_mp4", "wmv2_asf"} <= wrong


# What it says is what `auto` does.


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Put a changed table in the place of the shipped one: table(change), change(content)."""

    def put(change):
        content = json.loads(TABLE_PATH.read_text())
        change(content)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(content))
        monkeypatch.setattr(decoder_table, "TABLE_PATH", path)
        decoder_table.shipped_table.cache_clear()

    yield put
    decoder_table.shipped_table.cache_clear()


def row_of(content, name):
    return next(row for row in content["kinds"] if name in row["seen"])


def read(name, picks=(3, 70), **options):
    options = FrameOptions(size=SIZE, **options)
    return read_frames(np.array(picks), probe=found(name), options=options)


def test_auto_takes_the_cheapest(table):
    before = read("h264_mp4")
    table(lambda content: row_of(content, "h264_mp4")["cost"].update(selective=9.0))
    after, other = read("h264_mp4"), read("h264_mkv")
    assert (before.decoder, after.decoder, other.decoder) == ("selective", "ffmpeg", "selective")
    assert np.array_equal(before.frames, after.frames)  # who decodes is not what comes out


def test_auto_never_takes_one_that_is_wrong(table, monkeypatch):
    def change(content):
        row = row_of(content, "h264_mp4")
        row["right"] = ["selective"]

    def fails(reading):
        raise VideoError("it cannot", path=reading.path, reason="damaged")

    table(change)
    monkeypatch.setitem(decoders.READERS, "selective", fails)
    with pytest.raises(VideoError) as raised:
        read("h264_mp4")
    assert str(raised.value) == "selective: it cannot"  # ffmpeg was not asked
    assert read("h264_mkv").decoder == "ffmpeg"


def test_auto_takes_none_that_is_silent_about_damage(table):
    def cheap(content):
        row_of(content, "h264_mp4")["cost"]["decord"] = 0.1

    def trusted(content):
        cheap(content)
        content["notices_damage"].append("decord")

    table(cheap)
    assert read("h264_mp4").decoder == "selective"
    table(trusted)
    assert read("h264_mp4").decoder == "decord"


def test_decord_asked_for_follows_the_table(table):
    assert read("h264_mp4", decoder="decord").decoder == "decord"
    table(lambda content: row_of(content, "h264_mp4")["right"].remove("decord"))
    decoded = read("h264_mp4", decoder="decord")
    assert (decoded.decoder, barcodes("h264_mp4", decoded.frames)) == ("selective", [3, 70])
    assert decoded.attempts == ("decord: not proven right on h264 in mov of this kind",)


def test_it_is_read_once(monkeypatch):
    reads = []

    def counting(path, original=DecoderTable.read):
        reads.append(path)
        return original(path)

    monkeypatch.setattr(decoder_table.DecoderTable, "read", counting)
    decoder_table.shipped_table.cache_clear()
    for name in ("h264_mp4", "h264_mkv", "h264_mp4"):
        read(name)
    assert reads == [TABLE_PATH]


# The table itself.

KIND = FileKind(
    container="mov", codec="h264", by_time=True, reorders=True, refreshes=False,
    open_groups=False, hidden_packets=False, one_group=False, variable_rate=False, rotated=False,
)  # fmt: skip
OTHER = dataclasses.replace(KIND, rotated=True)


def verdict(**cost):
    return Verdict(right=frozenset(cost), cost=cost)


def small(**second):
    return DecoderTable(
        notices_damage=frozenset({"a", "b", "c"}),
        verdicts={KIND: verdict(a=1.0, b=2.0, silent=0.1), OTHER: verdict(**second)},
    )


def test_of_a_kind_never_seen_those_right_everywhere_are_tried():
    table = small(a=9.0, b=1.0, c=0.5)
    never = dataclasses.replace(KIND, codec="vvc")
    assert table.order(KIND) == ("a", "b")
    assert table.order(OTHER) == ("c", "b", "a")
    assert table.order(never) == table.order(None) == ("b", "a")  # 3 against 10; c not on all
    assert not table.is_right("a", never)


def test_equal_costs_are_ordered_by_name():
    assert small(b=1.0, a=1.0).order(OTHER) == ("a", "b")


def test_what_is_written_is_read_again(tmp_path):
    table, path = small(b=1.0), tmp_path / "table.json"
    table.write(path, seen={KIND: ["x"], OTHER: ["y"]})
    assert DecoderTable.read(path) == table


def test_the_shipped_file_is_as_written(tmp_path):
    seen = {FileKind(**row["kind"]): row["seen"] for row in ROWS}
    DecoderTable.read(TABLE_PATH).write(tmp_path / "again.json", seen=seen)
    assert (tmp_path / "again.json").read_bytes() == TABLE_PATH.read_bytes()


def test_a_table_that_leaves_no_decoder_is_refused(tmp_path):
    path = tmp_path / "table.json"
    for second in ({"silent": 1.0}, {"c": 1.0}):  # for that kind; for a kind never seen
        small(**second).write(path, seen={KIND: ["x"], OTHER: ["y"]})
        with pytest.raises(ValueError, match="no decoder is left"):
            DecoderTable.read(path)


def test_a_kind_twice_is_refused(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({**SHIPPED, "kinds": [ROWS[0], ROWS[0]]}))
    with pytest.raises(ValueError, match="twice"):
        DecoderTable.read(path)


# The kind of a file, by what its packets say.


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("h264_refresh_mp4", "refreshes"),
        ("h264_open_mkv", "open_groups"),
        ("hevc_open_mp4", "open_groups"),
        ("edit_list_mp4", "hidden_packets"),
        ("h264_mp4_one_gop", "one_group"),
        ("vfr_mp4", "variable_rate"),
        ("vfr_mkv", "variable_rate"),
        ("rotated_mp4", "rotated"),
    ],
)
def test_each_feature_is_told(name, feature):
    kind = kind_of(found(name))
    odd = ("refreshes", "open_groups", "hidden_packets", "one_group", "variable_rate", "rotated")
    assert [f for f in odd if getattr(kind, f)] == [feature]


def test_a_start_without_a_keyframe_hides_packets(tmp_path):
    path = media.without_first_packets("h264_mkv", 5, tmp_path)
    assert kind_of(probe(path)).hidden_packets
