"""What the artifacts of flow runs have in common: keys by run, text that stays text, links."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

import xxhash

__all__ = ["key_of", "page_link", "plain"]

_MARKED = re.compile(r"([\\`*_\[\]<>|~#])")
_LETTERS = 60


def key_of(kind: str, *, run: str) -> str:
    """The key of an artifact: `kind` and the run's name, so that histories of runs do not mix.

    Prefect's keys have lower-case letters, digits and dashes alone; a name that has others ends
    with a digest of it, as two such names may look alike then.
    """
    words = "-".join(re.findall(r"[a-z0-9]+", run.lower()))[:_LETTERS]
    digest = "" if words == run else xxhash.xxh32_hexdigest(run.encode())
    return "-".join(part for part in (kind, words, digest) if part)


def plain(text: object) -> str:
    """Text of files and captions for Markdown: on one line, and nothing in it is markup."""
    return _MARKED.sub(r"\\\1", " ".join(str(text).split()))


def page_link(words: str, *, run: str, view: str = "") -> str:
    """A Markdown link to the run on the page of its store; "" where nobody says where that is.

    `REELVEC_PAGE_URL` is the address `reelvec serve` has for those who look at Prefect's UI.
    """
    address = os.environ.get("REELVEC_PAGE_URL", "").rstrip("/")
    if not address.startswith(("http://", "https://")):
        return ""
    shown = f"&view={view}" if view else ""
    return f"[{words}]({address}/?run={quote(run, safe='')}{shown})"
