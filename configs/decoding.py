"""Limits of work on one file, and how a frame is stored: declared here and nowhere else.

`extract.*` of a run has these keys; ingest probes and extract decodes with the same object.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reelvec.configs.corpora import Options

__all__ = ["MAX_PIXELS", "FileLimits", "FrameForm", "FrameOptions", "JobLimits", "SoundForm"]

MAX_PIXELS = 8192 * 4320
"""Largest declared frame that is read where nobody says otherwise, pixels."""


class JobLimits(Options):
    """What one job of a sandboxed worker may take; then the worker is killed."""

    deadline_seconds: float = Field(default=120.0, gt=0)
    """Wall-clock limit of one video, seconds, to which its size and its length add; then the worker
    is killed."""
    deadline_seconds_per_gib: float = Field(default=120.0, ge=0)
    """Added for each GiB of the file; the default reads 9 MB a second."""
    deadline_seconds_per_gigapixel: float = Field(default=30.0, ge=0)
    """Added to decoding for each 10^9 pixels of all frames of the file, each counted as a megapixel
    at least; an hour of 1080p25 has 187, ten hours at one frame a second 36 or more."""
    no_progress_seconds: float = Field(default=30.0, gt=0)
    """Limit without a sign of life from the decoder, seconds."""
    memory_mb: int = Field(default=4096, ge=256)
    """Resident memory limit of one decode worker, MiB."""


class FileLimits(JobLimits):
    """What one video may take, and what it may claim to be."""

    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """Largest declared frame, pixels; larger is quarantined as too_large, undecoded."""


class FrameForm(Options):
    """What becomes of a picture: the form of stored frames, or the one a model was made for."""

    size: int = Field(default=224, ge=1)
    """Height and width of a frame, pixels; with fit native its shorter side, at most."""
    fit: Literal["crop", "squash", "native"] = "crop"
    """crop: the shorter side resized, the centre kept; squash: the whole picture made a square;
    native: the whole picture in its own proportions, never enlarged."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """Antialiased, either of them."""
    resize: Literal["torch", "pillow"] = "torch"
    """torch: on uint8 (at most 2 levels from Pillow, 7-9x faster); or pillow."""


class SoundForm(Options):
    """What becomes of a sound track: one channel, at a rate."""

    rate: int = Field(default=48_000, ge=8_000, le=192_000)
    """Samples a second."""
    max_seconds: float = Field(default=399.0, gt=0)
    """Longer sound is cut to its first so many seconds, and its row says so; PE-AV hears 399.96."""


class FrameOptions(FrameForm):
    """How frames are read from a file and shaped."""

    size: int = Field(default=224, ge=16)
    """Height and width of a frame, pixels; with fit native its shorter side, at most."""
    decoder: Literal["auto", "selective", "decord", "ffmpeg"] = "auto"
    """auto chooses for each file from the table of what is proven right."""
    damaged: Literal["strict", "salvage"] = "strict"
    """strict: a damaged video is quarantined; salvage: what decodes up to the damage is kept."""
