"""Corpora: from the files people have to lists of videos and captions."""

from reelvec.storage.corpora.contract import CorpusListing, CorpusReader
from reelvec.storage.corpora.registry import open_corpus

__all__ = ["CorpusListing", "CorpusReader", "open_corpus"]
