"""Every path of a store, composed here only (pure functions of kind, fingerprint and names).

::

    {kind}/{fingerprint}/identity.json
                         parts/{table}-{shard}-{unique}{suffix}
                         receipts/{table}-{shard}-{unique}.json
                         snapshots/{n:08d}.json
                         layers/{unique}.json             entries that many snapshots share
                         removals/{n:08d}.json, .done     what gc is about to delete, and did
                         pins/{n:08d}-{unique}.json       snapshots a reader holds on to
                         derived/{what}-{checksum}/…      made of a snapshot when it is needed
    runs/{stamp}-{id}.json
    drops/{stamp}-{id}.json              which of these runs were dropped
    at-work/{stamp}-{id}.json            a run that has begun and not ended
    aliases/{name}/{n:08d}.json          which tables a name stands for: the largest n
    gates/{stamp}-{id}.json, .html       what new tables were found to be like beside the old
    forgotten/{n:08d}.json               which videos were forgotten, by salted hash
    reports/{run}.html, latest.html      copies of the last reports, replaced by the next ones
    known/weights-{digest}.json          what was found in a weights file, replaced by the next
    format/{n:08d}.json                  the store's format: the largest n
    sources/synthetic/{fingerprint}/…
    .writers/…                           a file of each process that writes, while it lives
    .scratch/{process}-{unique}{suffix}  files in the making
    .damaged/…                           what `reelvec repair` set aside, under its old path
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping

import xxhash

from reelvec.storage.errors import StoreError

__all__ = [
    "ALIASES",
    "AT_WORK",
    "DAMAGED",
    "DERIVED",
    "DROPS",
    "FORGOTTEN",
    "FORMATS",
    "GATES",
    "KINDS",
    "KNOWN",
    "LAYERS",
    "REPORTS",
    "RUNS",
    "SCRATCH",
    "WRITERS",
    "alias",
    "artifact",
    "at_work",
    "canonical",
    "damaged",
    "derived",
    "drop",
    "fingerprint",
    "forgotten",
    "gate",
    "identity",
    "is_alias",
    "is_fingerprint",
    "is_scratch",
    "known_weights",
    "new_layer",
    "new_part",
    "number_of",
    "pin",
    "receipt_of",
    "removal",
    "report_page",
    "run",
    "snapshot",
    "store_format",
    "synthetic",
    "table_of",
]

KINDS = ("corpus", "frames", "audio", "features", "checkpoint", "embeddings", "evaluation")
SCRATCH = ".scratch"
WRITERS = ".writers"
RUNS = "runs"
DROPS = "drops"
AT_WORK = "at-work"
ALIASES = "aliases"
GATES = "gates"
FORGOTTEN = "forgotten"
REPORTS = "reports"
KNOWN = "known"
FORMATS = "format"
DERIVED = "derived"
DAMAGED = ".damaged"
LAYERS = "layers"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,63}")
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,16}){1,2}")
_ALIAS = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NUMBERED = re.compile(r"(\d{8,})(?=[-.])")


def canonical(value: Mapping[str, object]) -> bytes:
    """JSON with one spelling only: sorted keys, no spaces, ASCII, finite numbers.

    Raises:
        StoreError: a value JSON cannot hold exactly (NaN, an object).
    """
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"{value!r} cannot be an identity: only text, finite numbers, true, false, null, "
            f"lists and mappings have one spelling ({error})"
        ) from error
    return text.encode()


def fingerprint(identity: Mapping[str, object]) -> str:
    """xxh3-128 of the canonical identity, 32 hex digits: the name of the artifact's folder."""
    return xxhash.xxh3_128_hexdigest(canonical(identity))


def is_fingerprint(name: str) -> bool:
    """Whether a folder's name is one of ours."""
    return bool(re.fullmatch(r"[0-9a-f]{32}", name))


def artifact(kind: str, fingerprint: str) -> str:
    """The artifact's folder.

    Raises:
        StoreError: an unknown kind, or a fingerprint that is not 32 hex digits.
    """
    if kind not in KINDS:
        raise StoreError(f"no artifact is of kind {kind!r}: known are {', '.join(KINDS)}")
    if not is_fingerprint(fingerprint):
        raise StoreError(f"{fingerprint!r} is no fingerprint: 32 hex digits")
    return f"{kind}/{fingerprint}"


def identity(folder: str) -> str:
    """The identity in clear."""
    return f"{folder}/identity.json"


def new_part(folder: str, *, table: str, shard: str, suffix: str) -> str:
    """A part's path, never used before. Names are ours, never a corpus's ids.

    Raises:
        StoreError: a table, shard or suffix with characters that could leave the folder.
    """
    for what, value, rule in (("table", table, _NAME), ("shard", shard, _SHARD)):
        if not rule.fullmatch(value):
            raise StoreError(f"{value!r} cannot name a {what}: it must match {rule.pattern}")
    if not _SUFFIX.fullmatch(suffix):
        raise StoreError(f"{suffix!r} is no suffix such as .arrow or .parquet")
    return f"{folder}/parts/{table}-{shard}-{secrets.token_hex(8)}{suffix}"


def receipt_of(part: str) -> str:
    """The receipt's path of the part at `part` (both below the artifact's folder or not)."""
    folder, _, name = part.rpartition("parts/")
    return f"{folder}receipts/{_stem(name)}.json"


def table_of(file: str) -> str:
    """The table of a part or receipt, whose name begins with it; no table has a dash."""
    return file.rpartition("/")[2].partition("-")[0]


def _stem(name: str) -> str:
    """The part's name without suffix: table-shard-unique, where unique has no dot."""
    table_shard, _, rest = name.rpartition("-")
    return f"{table_shard}-{rest.partition('.')[0]}"


def snapshot(folder: str, number: int) -> str:
    return f"{folder}/snapshots/{number:08d}.json"


def new_layer() -> str:
    """A layer's path below its artifact's folder, never used before."""
    return f"{LAYERS}/{secrets.token_hex(16)}.json"


def removal(folder: str, number: int, *, done: bool = False) -> str:
    return f"{folder}/removals/{number:08d}.{'done' if done else 'json'}"


def is_scratch(name: str) -> bool:
    """Whether a file's name is one of those that files in the making have."""
    return bool(re.fullmatch(r"\d+-[0-9a-f]{16}(\.[A-Za-z0-9]+)*", name))


def pin(folder: str, number: int) -> str:
    return f"{folder}/pins/{number:08d}-{secrets.token_hex(8)}.json"


def number_of(name: str) -> int | None:
    """The number at the start of a snapshot's, removal's or pin's file name; None: none there."""
    match = _NUMBERED.match(name)
    return int(match[1]) if match else None


def derived(folder: str) -> str:
    """Where files derived from the artifact's snapshots lie."""
    return f"{folder}/{DERIVED}"


def run(stamp: str, identifier: str) -> str:
    return f"{RUNS}/{stamp}-{identifier}.json"


def drop(stamp: str, identifier: str) -> str:
    return f"{DROPS}/{stamp}-{identifier}.json"


def at_work(stamp: str, identifier: str) -> str:
    return f"{AT_WORK}/{stamp}-{identifier}.json"


def is_alias(name: str) -> bool:
    """Whether an alias may be called so: small letters, digits, dots, dashes, underscores."""
    return bool(_ALIAS.fullmatch(name))


def alias(name: str, number: int) -> str:
    """A record of what the alias stands for; the caller has seen to it that `is_alias(name)`."""
    return f"{ALIASES}/{name}/{number:08d}.json"


def gate(stamp: str, identifier: str, *, suffix: str = ".json") -> str:
    """A record of the gate, or its page."""
    return f"{GATES}/{stamp}-{identifier}{suffix}"


def forgotten(number: int) -> str:
    """A record of videos that were forgotten, or taken back."""
    return f"{FORGOTTEN}/{number:08d}.json"


def report_page(name: str) -> str:
    """Where the last report of this name is kept; the caller has made it a file's name."""
    return f"{REPORTS}/{name}.html"


def known_weights(digest: str) -> str:
    """Where it is kept what was found in the weights file of a name with this digest."""
    return f"{KNOWN}/weights-{digest}.json"


def store_format(number: int) -> str:
    """The record that says the store is of this format, or a newer one."""
    return f"{FORMATS}/{number:08d}.json"


def damaged(path: str) -> str:
    """A path where a damaged file is set aside; never used before."""
    return f"{DAMAGED}/{path}.{secrets.token_hex(4)}"


def synthetic(fingerprint: str) -> str:
    """Folder of the generated videos with these options."""
    return f"sources/synthetic/{fingerprint}"
