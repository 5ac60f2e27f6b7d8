"""Pickles as plain data: an interpreter of its own that knows a few names and runs no code.

Nothing a pickle holds can cost more than it weighs: steps are counted, what a call copies counts as
steps, and no value of the pickle is ever hashed but short keys. (Python's own unpickler hashes
nested tuples, which takes time exponential in their depth; two lines are enough to hang it.)
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MAX_STEPS", "Holder", "Known", "PickleError", "Unpickler", "is_key"]

MAX_STEPS = 2_000_000
"""Opcodes of one pickle, and what calls copy: some ten times those of a checkpoint with its
optimizer, some seconds."""
_MAX_INTEGER_BITS = 128
_COPIED_AS_ONE = 64  # characters or bytes that count as one step where they are copied

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_EMPTY: Mapping[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME"})


class PickleError(Exception):
    """A pickle that is not read: too long, damaged, or of things that are no plain data."""


class Holder(dict[str, Any]):
    """A stand-in for a class instance: its items and attributes, and no behaviour."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a name in a pickle stands for: a function of ours that gives plain data."""

    make: Callable[..., Any]


class Unpickler:
    """Reads pickles one after the other out of a stream; each has its own budget.

    Args:
        stream: bytes, with `read`, `readline` and `tell`.
        name: (module, name) -> what it stands for: Known, or a plain value. Raises for others.
        persistent: what a persistent identifier stands for.
    """

    def __init__(
        self,
        stream: Any,
        *,
        name: Callable[[str, str], Any],
        persistent: Callable[[Any], Any],
    ) -> None:
        self._stream = stream
        self._name = name
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0

    def load(self) -> Any:
        """The object of the next pickle. Sets are lists; items without a plain key are left out.

        Raises:
            PickleError: see there. Damaged bytes may raise anything else.
        """
        self._stack, self._marks, self._memo, self._steps = [], [], {}, 0
        for opcode, argument, _ in pickletools.genops(self._stream):
            self._count(1)
            if opcode.name != "STOP":
                self._step(opcode.name, argument)
        return self._stack.pop()

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise PickleError(
                f"its pickle takes more than {MAX_STEPS:,} steps, which no weights need; save the"
                " state dict alone, or as safetensors"
            )

    def _step(self, code: str, argument: Any) -> None:
        stack = self._stack
        if code in _VALUES:
            stack.append(_checked(argument))
        elif code in _CONSTANTS:
            stack.append(_CONSTANTS[code])
        elif code in _EMPTY:
            stack.append(_EMPTY[code]())
        elif code in _TUPLES:
            count = _TUPLES[code]
            stack[len(stack) - count :] = [tuple(stack[len(stack) - count :])]
        elif code == "MARK":
            self._marks.append(len(stack))
        elif code in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif code == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif code in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif code not in _IGNORED:
            self._combine(code, argument)

    def _combine(self, code: str, argument: Any) -> None:
        """Opcodes that work on what is on the stack."""
        stack = self._stack
        match code:
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "LIST" | "FROZENSET":
                stack.append(self._since_mark())
            case "DICT":
                values = self._since_mark()
                stack.append(_with_items({}, values))
            case "APPEND":
                value = stack.pop()
                _extend(stack[-1], [value])
            case "APPENDS" | "ADDITEMS":
                values = self._since_mark()
                _extend(stack[-1], values)
            case "SETITEM":
                values = [stack.pop(), stack.pop()][::-1]
                _with_items(stack[-1], values)
            case "SETITEMS":
                values = self._since_mark()
                _with_items(stack[-1], values)
            case "BINPERSID":
                stack.append(self._persistent(stack.pop()))
            case _:
                self._name_or_call(code, argument)

    def _name_or_call(self, code: str, argument: Any) -> None:
        stack = self._stack
        match code:
            case "GLOBAL":
                stack.append(self._name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(self._name(str(module), str(name)))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self._called(function, arguments))
            case "NEWOBJ_EX":
                _, arguments, function = stack.pop(), stack.pop(), stack.pop()
                stack.append(self._called(function, arguments))
            case "OBJ":
                function, *values = self._since_mark()
                stack.append(self._called(function, values))
            case "INST":
                values = self._since_mark()
                stack.append(self._called(self._name(*argument.split(" ", 1)), values))
            case "BUILD":
                self._build(stack.pop())
            case _:
                raise PickleError(f"its pickle has a {code}, which no weights need")

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def _called(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Known) or not isinstance(arguments, list | tuple):
            raise PickleError("its pickle calls what is no function")
        for value in arguments:
            if isinstance(value, str | bytes | bytearray):
                self._count(len(value) // _COPIED_AS_ONE)
            elif isinstance(value, list | tuple | dict):
                self._count(len(value))
        return function.make(*arguments)

    def _build(self, state: Any) -> None:
        """An instance's attributes; its items come first. Those of plain data say nothing."""
        target = self._stack[-1]
        if isinstance(target, Holder) and isinstance(state, dict):
            self._count(len(state))
            for key, value in state.items():
                target.setdefault(str(key), value)


def _checked(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise PickleError(f"its pickle has a whole number of {value.bit_length():,} bits")
    return value


def _extend(target: Any, values: Iterable[Any]) -> None:
    if not isinstance(target, list):
        raise PickleError("its pickle appends to what is no list")
    target.extend(values)


def is_key(value: Any) -> bool:
    """Whether a value may be a key: text, or a whole number of 64 bits.

    Of longer ones as many as one likes have the same hash.
    """
    return isinstance(value, str) or (isinstance(value, int) and value.bit_length() <= 64)


def _with_items(target: Any, values: list[Any]) -> Any:
    """`target` with keys and values in turn; what has no short key is data nobody asks for."""
    if not isinstance(target, dict):
        raise PickleError("its pickle sets an item of what is no dict")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if is_key(key):
            target[key] = value
    return target
