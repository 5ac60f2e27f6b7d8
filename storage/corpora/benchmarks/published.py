"""What each benchmark should hold by its publications, and what to obtain from where.

Counts are of videos and captions by split; 0: not published or not counted. Sources are named,
not linked: names last longer than addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OBTAIN", "PUBLISHED", "Published"]


@dataclass(frozen=True, slots=True)
class Published:
    """One split of one protocol: counts and where they are from."""

    videos: int
    captions: int = 0
    source: str = ""


_C4C = "data releases of CLIP4Clip and CLIP2Video; docs/specs/clip4clip-clip2video.md"
_ADA = "annotations of AdaCLIP; docs/specs/xclip-adaclip.md B5"

PUBLISHED: dict[tuple[str, str], dict[str, Published]] = {
    ("msrvtt", "9k"): {
        "train": Published(9000, 180000, f"{_C4C} 5.2 and docs/specs/xclip-adaclip.md A5"),
        "test": Published(1000, 1000, f"{_C4C} 5.2"),
    },
    ("msrvtt", "7k"): {
        "train": Published(7010, 140200, f"{_C4C} 5.2"),
        "test": Published(1000, 1000, f"{_C4C} 5.2"),
    },
    ("msrvtt", "full"): {
        "train": Published(6513, 130260, f"{_C4C} 5.2"),
        "val": Published(497, 9940, f"{_C4C} 5.2"),
        "test": Published(2990, 59800, f"{_C4C} 5.2"),
    },
    ("msvd", "all"): {
        "train": Published(1200, 48774, f"{_C4C} 5.3"),
        "val": Published(100, 4290, f"{_C4C} 5.3"),
        "test": Published(670, 27763, f"{_C4C} 5.3"),
    },
    ("lsmdc", "public-1000"): {
        "train": Published(0, 101079, f"{_C4C} 5.4 (the paper says 109,673)"),
        "val": Published(0, 7408, f"{_C4C} 5.4"),
        "test": Published(1000, 1000, f"{_C4C} 5.4"),
    },
    ("didemo", "paragraph"): {
        "train": Published(8392, 8392, f"{_ADA} (the authors' copy)"),
        "val": Published(1065, 1065, _ADA),
        "test": Published(1004, 1004, _ADA),
    },
    ("activitynet", "val1"): {
        "train": Published(10009, 10009, f"{_ADA} (log)"),
        "test": Published(4917, 4917, f"{_C4C} 5.5"),
    },
    ("vatex", "hgr"): {
        "train": Published(25991, 0, f"{_C4C} 5.6"),
        "val": Published(1500, 0, f"{_C4C} 5.6"),
        "test": Published(1500, 0, f"{_C4C} 5.6"),
    },
    ("vatex", "random1k5"): {
        "train": Published(25991, 0, f"{_C4C} 5.6"),
        "test": Published(1500, 0, f"{_C4C} 5.6"),
    },
}

OBTAIN: dict[str, tuple[str, ...]] = {
    "msrvtt": (
        "annotations: msrvtt_data.zip among the releases of ArrowLuo/CLIP4Clip (csv files and"
        " MSRVTT_data.json); the csv files also in data/ of CryhanFang/CLIP2Video",
        "videos: MSRVTT.zip of the Frozen-in-Time authors (m-bain), or Microsoft's original page",
    ),
    "msvd": (
        "annotations: msvd_data.zip among the releases of ArrowLuo/CLIP4Clip (lists and"
        " raw-captions.pkl)",
        "videos: YouTubeClips.tar of the Microsoft Research Video Description Corpus (UT Austin)",
    ),
    "lsmdc": (
        "annotations and videos: the LSMDC 2016 challenge page; MPII gives access on request",
    ),
    "didemo": (
        "annotations: train/val/test_data.json of LisaAnne/LocalizingMoments; the lists of"
        " collaborative-experts (albanie)",
        "videos: the download script of LisaAnne/LocalizingMoments",
    ),
    "activitynet": (
        "annotations: captions.zip of ActivityNet Captions (Stanford, R. Krishna)",
        "videos: the request form of activity-net.org",
    ),
    "vatex": (
        "annotations: lists in data/ of CryhanFang/CLIP2Video; captions from the VATEX challenge"
        " page, as vatex_data.json",
        "videos: YouTube clips by id and seconds; the challenge page names mirrors",
    ),
    "adaclip": (
        "annotations: annots/ of SamsungLabs/AdaCLIP; test and val also in the fork"
        " jilongW/AdaCLIP",
        "videos: those of the benchmark (MSR-VTT, DiDeMo or ActivityNet)",
    ),
}
