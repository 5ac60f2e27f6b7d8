"""What each benchmark should hold by its publications, and what to obtain from where.

Counts are of videos and captions by split; 0: not published or not counted. Sources are named,
not linked: names last longer than addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OBTAIN", "PROTOCOLS", "PUBLISHED", "Protocol", "Published", "protocol_named"]


@dataclass(frozen=True, slots=True)
class Published:
    """One split of one protocol: counts and where they are from."""

    videos: int
    captions: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a number under it is of."""

    task: str
    """In names of evaluation tasks, letters and digits."""
    said: str


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

_ONE_K_A = (
    "MSR-VTT 1k-A (JSFusion): 1,000 test videos with one caption each; not the full test of 2,990"
    " videos with 20 each, nor mteb's MSRVTTT2V, which has 879 of the 1,000; trained on"
)
PROTOCOLS: dict[tuple[str, str], Protocol] = {
    ("msrvtt", "9k"): Protocol("MSRVTT1kA", f"{_ONE_K_A} the 9,000 others"),
    ("msrvtt", "7k"): Protocol("MSRVTT1kA7k", f"{_ONE_K_A} 7,010 videos"),
    ("msrvtt", "full"): Protocol(
        "MSRVTTFull",
        "MSR-VTT full: 2,990 test videos with 20 captions each; not 1k-A (1,000 videos, one"
        " caption each), nor mteb's MSRVTTT2V (879 of these)",
    ),
    ("msvd", "all"): Protocol(
        "MSVD", "MSVD: 670 test videos with all their captions (some 41); mteb has one caption each"
    ),
    ("lsmdc", "public-1000"): Protocol("LSMDC", "LSMDC: the public test of 1,000 clips"),
    ("didemo", "paragraph"): Protocol("DiDeMo", "DiDeMo: a paragraph a video, 1,004 test videos"),
    ("activitynet", "val1"): Protocol(
        "ActivityNetVal1", "ActivityNet Captions val1: a paragraph a video, 4,917 videos"
    ),
    ("vatex", "hgr"): Protocol("VATEXHGR", "VATEX: the test of 1,500 videos by HGR"),
    ("vatex", "random1k5"): Protocol("VATEXRandom1k5", "VATEX: 1,500 videos drawn at random"),
    ("adaclip", "sentences"): Protocol("AdaCLIPSentences", "AdaCLIP's lists, a query a sentence"),
    ("adaclip", "paragraph"): Protocol("AdaCLIPParagraph", "AdaCLIP's lists, a query a video"),
}
"""By kind and protocol, the default of a kind first."""


def protocol_named(kind: str, protocol: str) -> Protocol:
    """The protocol of a benchmark; "default" is the kind's first."""
    return next(
        said
        for (of, name), said in PROTOCOLS.items()
        if of == kind and protocol in (name, "default")
    )
