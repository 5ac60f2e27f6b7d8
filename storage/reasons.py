"""How inputs end and why, apart from the records: who decodes a video needs no Arrow.

Arrow starts a thread of its own, and the process that forks decoders must have one thread only.
"""

from enum import StrEnum

__all__ = ["NOT_KNOWN", "Reason", "Status"]


class Status(StrEnum):
    """The outcome of an input: one of these three."""

    OK = "ok"
    SALVAGED = "salvaged"
    QUARANTINED = "quarantined"


class Reason(StrEnum):
    """Why a video was salvaged or quarantined ("" for ok)."""

    NONE = ""
    MISSING = "missing"  # no file at the path the corpus names
    EMPTY = "empty"  # zero bytes
    PERMISSION = "permission"  # the file may not be read
    UNREADABLE = "unreadable"  # no demuxer understands it, or a container we do not name
    NO_VIDEO_STREAM = "no_video_stream"
    NO_AUDIO_STREAM = "no_audio_stream"
    NO_SAMPLES = "no_samples"  # a sound track that yields no sample (or none in the window)
    NO_FRAMES = "no_frames"  # a stream that yields no frame (or none in the window)
    TRUNCATED = "truncated"  # bytes promised are not there: an early end, or a hole
    DAMAGED = "damaged"  # errors inside the stream
    TOO_LARGE = "too_large"  # declared pixels over the limit
    TIMEOUT = "timeout"  # wall-clock deadline
    NO_PROGRESS = "no_progress"  # no sign of life
    MEMORY = "memory"  # worker over its memory limit
    CRASHED = "crashed"  # the decoder took its process down
    UNREACHABLE = "unreachable"  # its server did not give it, though asked several times
    CHANGED = "changed"  # the bytes changed between listing and decoding


NOT_KNOWN = (Reason.PERMISSION, Reason.UNREACHABLE, Reason.TIMEOUT)
"""Of a listed file: nothing is known of its bytes, so that what was known of them still holds."""
