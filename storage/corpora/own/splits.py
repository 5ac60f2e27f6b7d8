"""Names of splits, and splits by a stable hash of the id: the same id stays where it is."""

from __future__ import annotations

from collections.abc import Mapping

import xxhash

__all__ = ["split_by_hash", "split_name"]

_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "validation", "validate", "valid", "dev", "development"),
    "test": ("test", "testing"),
}
_OURS = {theirs: ours for ours, names in _NAMES.items() for theirs in names}


def split_name(text: str) -> str:
    """Our name of a split: ``Validation``, ``VALID``, ``dev`` are ``val``; unknown ones stay."""
    return _OURS.get(text.strip().casefold(), text.strip())


def split_by_hash(video_id: str, fractions: Mapping[str, float]) -> str:
    """The split whose share of [0, 1) holds the id's hash; ``fractions`` sum to 1.

    Splits take their shares in the order of their names, so the order in a config is no matter.
    """
    point = xxhash.xxh3_64_intdigest(video_id.encode()) / 2**64
    edge = 0.0
    names = sorted(name for name, share in fractions.items() if share > 0)
    for name in names:
        edge += fractions[name]
        if point < edge:
            return name
    return names[-1]  # the sum may fall short of 1 by rounding
