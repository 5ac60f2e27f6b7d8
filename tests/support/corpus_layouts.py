"""Writes one small corpus in each benchmark's original layout."""

import csv
import json
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reelvec.configs.schema import BenchmarkCorpus
from reelvec.storage.corpora.contract import CorpusListing

LAYOUTS = ("msrvtt", "msvd", "lsmdc", "didemo", "activitynet", "vatex", "adaclip")


@dataclass(frozen=True)
class Item:
    """One video to lay out; ``path`` None: its file is missing."""

    name: str
    split: str  # train, val or test
    captions: tuple[str, ...]
    path: Path | None = None
    seconds: float = 2.0


@dataclass(frozen=True)
class Layout:
    """What was written, and the names its videos go by there: video_id -> Item.name."""

    config: BenchmarkCorpus
    names: dict[str, str]

    @property
    def annotations(self) -> Path:
        return Path(self.config.annotations)


def items_of(listing: CorpusListing) -> list[Item]:
    """The items of another corpus' listing."""
    captions: dict[str, list[str]] = {}
    for caption in listing.captions:
        captions.setdefault(caption.video_id, []).append(caption.text)
    return [
        Item(video.video_id, video.split, tuple(captions[video.video_id]), Path(video.path))
        for video in listing.videos
    ]


def some_items(count: int = 12, *, captions: int = 1) -> list[Item]:
    """Items without files: two of three for training, then val and test in turn."""
    splits = ("train", "train", "val", "train", "train", "test")
    return [
        Item(
            f"clip{number:05d}",
            splits[number % 6],
            tuple(f"caption {k} of clip {number}" for k in range(captions)),
        )
        for number in range(count)
    ]


def write_layout(
    kind: str, root: Path, items: Sequence[Item], *, protocol: str = "default"
) -> Layout:
    """Write ``items`` below ``root`` as the benchmark's own files; videos are hard links.

    Layouts without a val split (1k-A, ActivityNet, AdaCLIP without test.json) leave its items out.
    """
    annotations, videos = root / "annotations", root / "videos"
    annotations.mkdir(parents=True)
    videos.mkdir()
    files = WRITERS[kind](annotations, list(items), protocol)
    for item in items:
        file = files.get(item.name, ("", ""))[1]
        if item.path is not None and file:
            target = videos / f"{file}{item.path.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(item.path, target)
    config = BenchmarkCorpus(
        kind=kind, videos=str(videos), annotations=str(annotations), protocol=protocol
    )
    return Layout(config, {video_id: name for name, (video_id, _) in files.items()})


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


Files = dict[str, tuple[str, str]]  # Item.name -> video_id, path below videos without extension


def _lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _msrvtt(annotations: Path, items: list[Item], protocol: str) -> Files:
    ids = {item.name: f"video{number}" for number, item in enumerate(items)}
    if protocol == "full":
        for split in ("train", "val", "test"):
            rows = [ids[item.name] for item in items if item.split == split]
            _lines(annotations / f"MSRVTT_{split}.full.csv", ["video_id", *rows])
    else:
        items = [item for item in items if item.split != "val"]
        name = "MSRVTT_train.7k.csv" if protocol == "7k" else "MSRVTT_train.9k.csv"
        train = [ids[item.name] for item in items if item.split == "train"]
        _lines(annotations / name, ["video_id", *train])
        with (annotations / "MSRVTT_JSFUSION_test.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["key", "vid_key", "video_id", "sentence"])
            for number, item in enumerate(i for i in items if i.split == "test"):
                vid_key = ids[item.name].replace("video", "msr")
                writer.writerow([f"ret{number}", vid_key, ids[item.name], item.captions[0]])
    sentences = [
        {"video_id": ids[item.name], "caption": text, "sen_id": 0}
        for item in items
        for text in item.captions
    ]
    content = {
        "info": {},
        "videos": [{"video_id": ids[item.name], "url": "", "id": 0} for item in items],
        "sentences": sentences,
    }
    (annotations / "MSRVTT_data.json").write_text(json.dumps(content))
    folder = {"train": "TrainValVideo", "val": "TrainValVideo", "test": "TestVideo"}
    return {i.name: (ids[i.name], f"{folder[i.split]}/{ids[i.name]}") for i in items}


def _msvd(annotations: Path, items: list[Item], _: str) -> Files:
    ids = {item.name: f"{item.name}_10_20" for item in items}
    for split in ("train", "val", "test"):
        rows = [ids[item.name] for item in items if item.split == split]
        (annotations / f"{split}_list.txt").write_text("\n".join(rows))  # no newline at the end
    words = {ids[item.name]: [text.split(" ") for text in item.captions] for item in items}
    (annotations / "raw-captions.pkl").write_bytes(pickle.dumps(words, protocol=2))
    return {name: (video_id, video_id) for name, video_id in ids.items()}


def _lsmdc(annotations: Path, items: list[Item], _: str) -> Files:
    names = {
        "train": "LSMDC16_annos_training.csv",
        "val": "LSMDC16_annos_val.csv",
        "test": "LSMDC16_challenge_1000_publictect.csv",
    }
    ids = {item.name: f"1004_{item.name}_00.00.32.240-00.00.35.579" for item in items}
    times = "00.00.32.240\t00.00.35.579\t00.00.32.240\t00.00.35.579"
    for split, name in names.items():
        rows = [
            f"{ids[item.name]}\t{times}\t{text}"
            for item in items
            if item.split == split
            for text in item.captions
        ]
        _lines(annotations / name, rows)
    return {name: (video_id, f"1004_Film/{video_id}") for name, video_id in ids.items()}


def _didemo(annotations: Path, items: list[Item], _: str) -> Files:
    ids = {item.name: f"12345@N00_{item.name}.mov" for item in items}
    for split in ("train", "val", "test"):
        part = [item for item in items if item.split == split]
        _lines(annotations / f"{split}_list.txt", [ids[item.name] for item in part])
        moments = [
            {"video": ids[item.name], "description": text, "times": [[0, 0]], "annotation_id": 1}
            for item in part
            for text in item.captions
        ]
        (annotations / f"{split}_data.json").write_text(json.dumps(moments))
    return {name: (video_id, video_id) for name, video_id in ids.items()}


def _activitynet(annotations: Path, items: list[Item], _: str) -> Files:
    items = [item for item in items if item.split != "val"]
    for split, ids, entries in (
        ("train", "train_ids.json", "train.json"),
        ("test", "val_ids.json", "val_1.json"),
    ):
        part = [item for item in items if item.split == split]
        (annotations / ids).write_text(json.dumps([f"v_{item.name}" for item in part]))
        content = {
            f"v_{item.name}": {
                "duration": item.seconds,
                "timestamps": [[0, item.seconds]] * len(item.captions),
                "sentences": list(item.captions),
            }
            for item in part
        }
        (annotations / entries).write_text(json.dumps(content))
    return {item.name: (item.name, item.name) for item in items}


def _vatex(annotations: Path, items: list[Item], protocol: str) -> Files:
    ids = {item.name: f"{item.name}_000010_000020" for item in items}
    parts = {
        split: [ids[item.name] for item in items if item.split == split]
        for split in ("train", "val", "test")
    }
    for split, rows in parts.items():
        _lines(annotations / f"{split}_list.txt", rows)
    if protocol == "random1k5":
        _lines(annotations / "test1k5_sec_list.txt", parts["test"])
    content = {ids[item.name]: {"enCap": list(item.captions), "chCap": ["字幕"]} for item in items}
    (annotations / "vatex_data.json").write_text(json.dumps(content))
    return {name: (video_id, video_id) for name, video_id in ids.items()}


def _adaclip(annotations: Path, items: list[Item], _: str) -> Files:
    for split in ("train", "val", "test"):
        content = {
            item.name: {
                "extension": item.path.suffix.removeprefix(".") if item.path else "mp4",
                "sentences": list(item.captions),
                "timestamps": [],
                "duration": item.seconds,
            }
            for item in items
            if item.split == split
        }
        text = json.dumps(content, indent=1).replace("\n", "\r\n")
        (annotations / f"{split}.json").write_text(text, newline="")
    return {item.name: (item.name, item.name) for item in items}


WRITERS: dict[str, Callable[[Path, list[Item], str], Files]] = {
    "msrvtt": _msrvtt,
    "msvd": _msvd,
    "lsmdc": _lsmdc,
    "didemo": _didemo,
    "activitynet": _activitynet,
    "vatex": _vatex,
    "adaclip": _adaclip,
}
