"""What a configuration is refused with: the file, the key, and the nearest valid one."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable

from reelvec.errors import ReelvecError

__all__ = ["ConfigError", "cut", "nearest", "rule", "shown"]

_SHOWN_CHARACTERS = 200
_OURS = (
    (r"^Value error, ", ""),
    (r"^Input should be a valid (?:dictionary|mapping).*$", "it must be a group of keys"),
    (r"^Input should be a valid (?:list|tuple|set)\b.*$", "it must be a list"),
    (r"^Input should be a valid string\b.*$", "it must be text"),
    (r"^Input should be a valid boolean\b.*$", "it must be true or false"),
    (r"^(?:Input should be a valid|.* string as an) integer\b.*$", "it must be a whole number"),
    (r"^Input should be a valid number\b.*$", "it must be a number"),
    (
        r"^Input tag .* using '(\w+)' does not match any of the expected tags: ",
        r"\1 must be one of ",
    ),
    (r"^Unable to extract tag using discriminator '(\w+)'$", r"\1 is missing"),
    (r"^\w+ should have (at \w+ \d+ \w+)\b.*$", r"it must have \1"),
    (r"^\w+ should (be|match) ", r"it must \1 "),
    (r"\bless than or equal to\b", "at most"),
    (r"\bgreater than or equal to\b", "at least"),
    (r"\bgreater than\b", "more than"),
)
"""pydantic's words -> ours."""


class ConfigError(ReelvecError, ValueError):
    """A configuration cannot be used; `source` names the file or option, `key` the dotted key."""

    def __init__(self, message: str, *, source: str = "", key: str = "") -> None:
        super().__init__(message)
        self.source = source
        self.key = key


def nearest(name: str, valid: Iterable[str]) -> str:
    """The remedy for a mistyped name: the valid one closest to it, or all of them."""
    names = list(valid)
    close = difflib.get_close_matches(cut(name), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean ({close[0]})?"
    return f"valid: {', '.join(names)}."


def rule(message: str) -> str:
    """What a value must be, from what pydantic says of it."""
    for theirs, ours in _OURS:
        message = re.sub(theirs, ours, message)
    return message


def cut(text: str) -> str:
    """The beginning of a text for an error's words."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def shown(value: object) -> str:
    """A value for an error's words, however large it is."""
    words = reprlib.Repr()
    words.maxstring = words.maxother = words.maxlong = _SHOWN_CHARACTERS
    return cut(words.repr(value))
