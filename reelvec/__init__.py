"""Reelvec: videos and captions into retrieval-ready embedding tables, kept true."""
