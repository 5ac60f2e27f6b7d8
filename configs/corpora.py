"""Which videos and captions: one frozen class a kind of corpus, told apart by `kind`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from reelvec.configs.uris import checked_uri, is_uri

__all__ = [
    "DRAWN",
    "BenchmarkCorpus",
    "CorpusConfig",
    "FilmCorpus",
    "FolderCorpus",
    "LocalPath",
    "Options",
    "PathOrUri",
    "StoryCorpus",
    "StoryKind",
    "SyntheticCorpus",
    "WindowsConfig",
    "anchored",
]

_ANCHORING: dict[str, Any] = {"anchor": True}


def _absolute_if_asked(path: str, info: ValidationInfo) -> str:
    if "\0" in path:
        raise ValueError("a path holds no zero byte; correct it")
    if is_uri(path):
        raise ValueError(
            f"({path}) is an address, and this must be a path of this machine: of corpora only the"
            " kind folder reads its videos and captions where they are; copy the files here"
        )
    try:
        place = Path(path).expanduser()
        return str(place.resolve()) if info.context == _ANCHORING else path
    except (OSError, RuntimeError) as error:  # ~nobody, and links that go round
        raise ValueError(f"no such path can be ({error}); write another") from None


def _path_or_uri(text: str, info: ValidationInfo) -> str:
    if not is_uri(text):
        return _absolute_if_asked(text, info)
    checked = checked_uri(text)
    return checked if info.context == _ANCHORING else text


LocalPath = Annotated[str, AfterValidator(_absolute_if_asked)]
"""A path of this machine, kept as given until `anchored` makes it absolute. Every option that is a
path has this type: a relative one would mean another place from another working directory."""

PathOrUri = Annotated[str, AfterValidator(_path_or_uri)]
"""The same, or an address such as s3://bucket/prefix (docs/videos-in-a-bucket.md)."""

CaptionRole = Literal["video_id", "path", "caption", "subset", "split", "start", "end"]


StoryKind = Literal["order", "motion", "details", "moments"]

DRAWN = ("synthetic", "stories", "films")
"""Kinds of corpora whose videos we draw; all have the splits train, val and test."""


class Options(BaseModel):
    """A frozen set of options; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class WindowsConfig(Options):
    """Windows of each file, which are searched beside whole videos (docs/moments.md)."""

    by: Literal["time", "shots"] = "time"
    """time: of one length, one each `stride`; shots: from cut to cut, seen in the stored frames."""
    seconds: float = Field(default=10.0, ge=0.1, allow_inf_nan=False)
    """Length of a window; a longer shot is cut into windows of this length."""
    stride: float | None = Field(default=None, ge=0.05, allow_inf_nan=False)
    """Seconds from one start to the next, at most `seconds`; None: half of `seconds`."""
    threshold: float = Field(default=12.0, gt=0, le=255)
    """Of shots: how far colours move from frame to frame at a cut, levels of 255 on the mean."""
    shortest: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Of shots: seconds; of two cuts that are nearer to each other the stronger one counts."""

    @property
    def step(self) -> float:
        """Seconds from one start to the next."""
        return self.seconds / 2 if self.stride is None else self.stride

    @model_validator(mode="after")
    def _without_gaps(self) -> WindowsConfig:
        if self.step > self.seconds:
            raise ValueError(
                f"stride ({self.stride}) is more than seconds ({self.seconds}): what lies between"
                " two windows would never be found; set it to at most that"
            )
        return self


class _Corpus(Options):
    """What every kind of corpus has."""

    windows: WindowsConfig | None = None
    """Windows of its files as rows of their own; null: none."""


class FolderCorpus(_Corpus):
    """Your own videos: a folder (searched recursively), captions optional."""

    kind: Literal["folder"] = "folder"
    videos: PathOrUri
    """Folder of videos, searched recursively (video_id = path below it, without extension); or
    where they are: s3://bucket/prefix, gs://, az://, http://."""
    captions: PathOrUri | dict[str, PathOrUri] | None = None
    """CSV, TSV, JSON, JSONL (also compressed) or Parquet with the columns below, or one such file
    for each split, e.g. {train: train.csv, test: test.csv}; none: embed videos only."""
    columns: dict[CaptionRole, str] = Field(default_factory=dict)
    """Column names of your file, e.g. {video_id: clip, path: file, caption: text, split: part};
    also subset, start and end (seconds, of a piece). Unnamed: as the role is called."""
    splits: dict[str, float] = Field(default_factory=dict)
    """Fractions by a stable hash of video_id, e.g. {train: 0.8, val: 0.1, test: 0.1}, where the
    file has no split column. Empty: every video is in every role (train, val and test)."""
    split_by_folder: bool = False
    """The first folder below `videos` names the split (train/, validation/, test/), as in Hugging
    Face's VideoFolder."""

    @field_validator("splits")
    @classmethod
    def _shares_of_one(cls, splits: dict[str, float]) -> dict[str, float]:
        if splits and (min(splits.values()) < 0 or not abs(sum(splits.values()) - 1) <= 1e-6):
            raise ValueError(f"{splits}: fractions are 0 or more and sum to 1; correct them")
        return splits


class SyntheticCorpus(_Corpus):
    """Captioned moving shapes, drawn by us and encoded to real video files."""

    kind: Literal["synthetic"] = "synthetic"
    videos: int = Field(default=360, ge=1)
    """How many videos."""
    seed: int = 0
    """The same seed and options give the same bytes."""
    seconds: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """Length of a video, seconds."""
    fps: int = Field(default=8, ge=1)
    """Frames a second."""
    size: int = Field(default=96, ge=16, multiple_of=2)
    """Width and height of a video, pixels; even, as 4:2:0 colour asks."""
    captions_per_video: int = Field(default=1, ge=1)
    """Paraphrases of each caption."""
    codecs: tuple[str, ...] = Field(
        default=("h264-mp4", "mpeg4-avi", "vp9-webm", "h264-mkv"), min_length=1
    )
    """Container and codec kinds, dealt out in turn: h264-mp4, h264-mkv, h264-mov, hevc-mp4,
    mpeg4-avi, vp8-webm, vp9-webm."""
    motion_only: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the videos of each split that come in pairs differing in motion alone: one is
    the other backwards (subset `motion`)."""


class StoryCorpus(_Corpus):
    """Captioned clips of a few pictures, drawn by us to tell models apart."""

    kind: Literal["stories"]
    about: StoryKind
    """What tells videos apart: the order of three things; which way two things step; three things
    of the six that are shown; three things among empty pictures."""
    videos: int = Field(default=960, ge=1)
    """How many videos; at most 3360 about order, 960 about motion."""
    seed: int = 0
    """The same seed and options give the same bytes."""
    fps: int = Field(default=2, ge=1)
    """Frames a second; a picture is a frame."""
    size: int = Field(default=32, ge=16, multiple_of=2)
    """Width and height of a video, pixels; even, as 4:2:0 colour asks."""
    codecs: tuple[str, ...] = Field(default=("h264-mp4",), min_length=1)
    """As in SyntheticCorpus."""


class FilmCorpus(_Corpus):
    """Long captioned films, drawn by us: events at known times, and empty pictures between them."""

    kind: Literal["films"]
    videos: int = Field(default=48, ge=1)
    """How many films."""
    events: int = Field(default=8, ge=1)
    """Captioned moments of a film: 3 to 8 seconds each, up to 5 seconds apart."""
    seed: int = 0
    """The same seed and options give the same bytes."""
    fps: int = Field(default=4, ge=1)
    """Frames a second."""
    size: int = Field(default=64, ge=16, multiple_of=2)
    """Width and height of a video, pixels; even, as 4:2:0 colour asks."""
    codecs: tuple[str, ...] = Field(default=("h264-mp4",), min_length=1)
    """As in SyntheticCorpus."""


class BenchmarkCorpus(_Corpus):
    """A benchmark of the field in its original file formats."""

    kind: Literal["msrvtt", "msvd", "lsmdc", "didemo", "activitynet", "vatex", "adaclip"]
    videos: LocalPath
    """Folder of the videos, searched recursively."""
    annotations: LocalPath
    """Folder of the original annotation files."""
    protocol: str = "default"
    """Which published protocol: 9k, 7k or full (MSR-VTT), hgr or random1k5 (VATEX), …"""


CorpusConfig = Annotated[
    FolderCorpus | SyntheticCorpus | StoryCorpus | FilmCorpus | BenchmarkCorpus,
    Field(discriminator="kind"),
]


def anchored(corpus: CorpusConfig) -> CorpusConfig:
    """`corpus` with absolute paths, so that it means the same from every working directory."""
    return type(corpus).model_validate(corpus.model_dump(), context=_ANCHORING)
