"""YAML as plain data, strictly and within limits; nothing in a text is ever executed.

Beyond YAML's own rules: a key is text or a number and stands once; dates stay text; whole numbers
have 64 bits; what aliases say again counts each time it is said.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

__all__ = ["TEXT_BYTES", "fault_of", "parse_yaml"]

TEXT_BYTES = 128 * 2**10
"""The largest text that is read; the parser takes some seconds for so much."""
_VALUES = 20_000
"""Keys and values of one document, aliases followed."""
_LARGEST = 2**63
_DIGITS = 80
"""Characters of a number; 64 bits in base 2 are written with fewer."""


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML itself lets the last one win silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key on line {line} is a list or a mapping; a key is text"
                )
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key ({key}) is given twice, again on line {line}; keep one"
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if isinstance(text, str) and ("\0" in text or not _is_unicode(text)):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"the text on line {node.start_mark.line + 1} holds a zero byte, or half a"
                " surrogate pair; no name or path does",
            )
        return text

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number = super().construct_yaml_int(node) if len(node.value) <= _DIGITS else _LARGEST
        if not -_LARGEST <= number < _LARGEST:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"the number on line {node.start_mark.line + 1} ({node.value[:_DIGITS]}) is beyond"
                " 64 bits",
            )
        return number


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """The plain data that `text` says.

    Raises:
        yaml.YAMLError: it is no YAML, a key is given twice, or it is beyond the limits above.
    """
    if len(text) > TEXT_BYTES:
        raise yaml.YAMLError(f"{len(text):,} characters; {TEXT_BYTES:,} are read at most")
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        # what the safe loader's own constructors raise for `!!int x`, `!!timestamp x` and the like
        raise yaml.YAMLError(f"a value does not fit its tag ({error})") from None
    finally:
        loader.dispose()


def fault_of(error: Exception) -> str:
    """Where a text is no YAML, and why, in one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None and problem:
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
    return " ".join(str(error).replace('in "<unicode string>", ', "at ").split())


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """Keys and values below `node` and itself, aliases followed; `counted` by node, 0 while open.

    Raises:
        yaml.YAMLError: more than a document may have, or an alias within what it stands for.
    """
    known = counted.get(id(node))
    if known == 0:
        raise yaml.YAMLError(f"what stands on line {node.start_mark.line + 1} holds itself")
    if known is not None:
        return known
    counted[id(node)] = 0
    total = 1
    below = node.value if isinstance(node, yaml.CollectionNode) else ()
    for child in below:
        for part in child if isinstance(child, tuple) else (child,):
            total += _count(part, counted)
    if total > _VALUES:
        raise yaml.YAMLError(
            f"it says more than {_VALUES:,} keys and values, those that aliases repeat included"
        )
    counted[id(node)] = total
    return total


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
