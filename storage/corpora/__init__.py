"""Corpora: from the files people have to lists of videos and captions."""

from reelvec.storage.corpora.registry import open_corpus

__all__ = ["open_corpus"]
