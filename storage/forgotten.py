"""Which videos were forgotten, so that no run takes them in again: numbered, create-only records.

``forgotten/{n}.json`` lists ids by a salted hash, not by name: who lists a corpus recognises what
was forgotten, and the store itself names nobody. (A hash hides no id from who guesses it and reads
the store.) A record that takes some of them back lets runs take these videos in again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from reelvec.storage import layout
from reelvec.storage.errors import IntegrityError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.store_format import WITH_FORGOTTEN, stamp_format

__all__ = ["FORGOTTEN", "TAKEN_BACK", "Forgotten", "forget_records", "note_ids"]

FORGOTTEN, TAKEN_BACK = "forgotten", "taken back"
_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRecord:
    """Ids that were forgotten, or taken back, together."""

    change: str
    """FORGOTTEN or TAKEN_BACK."""
    salt: str
    """Of the hashes, hex."""
    digests: tuple[str, ...]
    """A salted hash of each id, hex."""
    when: str
    """ISO 8601, with time zone."""
    why: str = ""
    """In the words of who did it."""


class Forgotten:
    """The ids that are forgotten, as the records say in their order."""

    def __init__(self, records: Sequence[ForgetRecord]) -> None:
        self._by_salt: dict[str, set[str]] = {}
        for record in records:
            known = self._by_salt.setdefault(record.salt, set())
            if record.change == FORGOTTEN:
                known.update(record.digests)
            else:
                known.difference_update(record.digests)

    @classmethod
    def of(cls, root: Root) -> Forgotten:
        """Those of a store.

        Raises:
            IntegrityError: a record is damaged, so that it is not known who may be taken in.
        """
        if not root.exists(layout.store_format(WITH_FORGOTTEN)):
            return cls(())  # as most stores are: one call of each run
        return cls(forget_records(root))

    def among(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of `ids` that are forgotten; costs nothing where none is."""
        salts = [(bytes.fromhex(salt), known) for salt, known in self._by_salt.items() if known]
        if not salts:
            return frozenset()
        return frozenset(i for i in ids if any(_digest(i, salt) in known for salt, known in salts))

    def __len__(self) -> int:
        return sum(map(len, self._by_salt.values()))


def forget_records(root: Root) -> list[ForgetRecord]:
    """Every record, oldest first.

    Raises:
        IntegrityError: one is damaged.
    """
    paths = (layout.forgotten(number) for number in range(1, _last_number(root) + 1))
    return [_read(root, path) for path in paths if root.exists(path)]


def note_ids(root: Root, ids: Iterable[str], *, change: str, why: str = "") -> None:
    """Write down that these ids are forgotten, or are taken back; those that are so already not.

    Raises:
        IntegrityError: an earlier record is damaged.
        StoreError: the store cannot be written.
    """
    stamp_format(root, WITH_FORGOTTEN)
    while True:
        number, records = _last_number(root), forget_records(root)
        known = Forgotten(records).among(wanted := frozenset(ids))
        salts = list(dict.fromkeys(record.salt for record in records))
        if change == FORGOTTEN:
            due, salts = wanted - known, salts[-1:] or [secrets.token_hex(_BYTES)]
        else:
            due = known
        if not due:
            return
        try:
            for salt in salts:  # of several first writers at once each made its own
                number += 1
                record = ForgetRecord(
                    change=change,
                    salt=salt,
                    digests=tuple(sorted(_digest(i, bytes.fromhex(salt)) for i in due)),
                    when=datetime.now(UTC).isoformat(timespec="seconds"),
                    why=why,
                )
                root.put_new(layout.forgotten(number), seal(dataclasses.asdict(record)))
        except FileExistsError:
            continue  # another was faster: what it wrote counts
        return


def _digest(video_id: str, salt: bytes) -> str:
    data = video_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, key=salt, digest_size=_BYTES).hexdigest()


def _last_number(root: Root) -> int:
    """The largest number, whatever a listing hides; 0: none."""
    names = root.list(layout.FORGOTTEN)  # a hint: probing has the last word
    number = max([layout.number_of(name) or 0 for name in names], default=0)
    while root.exists(layout.forgotten(number + 1)):
        number += 1
    return number


def _read(root: Root, path: str) -> ForgetRecord:
    body = unseal(root.read(path), path=path)
    try:
        known = {field.name: body[field.name] for field in dataclasses.fields(ForgetRecord)}
        return ForgetRecord(**known | {"digests": tuple(known["digests"])})
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is no record of forgotten videos", path=path) from error
