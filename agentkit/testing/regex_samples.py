"""Texts that a regular expression matches."""

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, TypeVar

from agentkit.core.errors import ConfigurationError

# What `re` compiles from; it has no public name, and no stubs.
_PARSER: Any = import_module("re._parser")
_ALPHABET = "aZ7 -b_.:/@éxyQ0123456789cdefghijklmnopqrstuvwABCDEFGHIJKLMNOPRSTUVWXY\n"
_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_TRIES = 64

T = TypeVar("T")


def matching(pattern: str, shortest: int = 0, longest: int | None = None, number: int = 0) -> str:
    """Give a text that has a match of a pattern; other numbers give other texts, as far as there are any.

    Args:
        pattern: A regular expression, in the dialect of Python.
        shortest: The fewest characters that it may have.
        longest: The most.
        number: Which of the texts to give.

    Raises:
        ConfigurationError: If none is found: what looks ahead and behind is not followed.
    """
    tree = _PARSER.parse(pattern)
    found: dict[str, None] = {}
    for more in (0, *range(1, max(shortest, 1) + 2)):
        for turn in range(_TRIES):
            text = _Text(turn, more).of(tree)
            text += "x" * (shortest - len(text))
            if (longest is None or len(text) <= longest) and re.search(pattern, text):
                found[text] = None
        if len(found) > number:
            break
    if not found:
        raise ConfigurationError(f"no text was found that matches {pattern!r}; give one yourself")
    return list(found)[number % len(found)]


class _Text:
    """One text: `turn` says which of several ways is gone, `more` how often beyond need something is repeated."""

    def __init__(self, turn: int, more: int) -> None:
        self.turn = turn
        self.more = more
        self.groups: dict[int, str] = {}

    def of(self, tree: Iterable[tuple[Any, Any]]) -> str:
        return "".join([self._part(str(kind), given) for kind, given in tree])

    def _part(self, kind: str, given: Any) -> str:  # noqa: PLR0911 (a table)
        match kind:
            case "LITERAL":
                return chr(given)
            case "NOT_LITERAL":
                return self._one([each for each in _ALPHABET if each != chr(given)])
            case "ANY":
                return self._one(list(_ALPHABET[:-1]))
            case "IN":
                return self._one(_allowed(given))
            case "BRANCH":
                ways: list[Iterable[tuple[Any, Any]]] = given[1]
                return self.of(self._one(ways))
            case "SUBPATTERN":
                self.groups[given[0]] = text = self.of(given[3])
                return text
            case "GROUPREF":
                return self.groups.get(given, "")
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, inner = given
                return "".join([self.of(inner) for _ in range(min(int(low) + self.more, int(high)))])
            case "ATOMIC_GROUP":
                return self.of(given)
            case _:  # places, and what looks ahead and behind: whether it holds is seen at the end
                return ""

    def _one(self, choices: Sequence[T]) -> T:
        """Take one of several."""
        self.turn, at = divmod(self.turn, len(choices))
        return choices[at]


def _allowed(items: Iterable[tuple[Any, Any]]) -> list[str]:
    """Give characters that a set allows."""
    named: list[str] = []
    tests: list[str] = []
    negated = False
    for kind, given in items:
        match str(kind):
            case "NEGATE":
                negated = True
            case "LITERAL":
                named.append(chr(given))
                tests.append(re.escape(chr(given)))
            case "RANGE":
                low, high = given
                named += [chr(low), *([chr(high)] if high > low else [])]
                tests.append(f"{re.escape(chr(low))}-{re.escape(chr(high))}")
            case _:
                _, no, category = str(given).rpartition("NOT_")
                written = _CATEGORIES[category.removeprefix("CATEGORY_")]
                tests.append(written.upper() if no else written)
    one = re.compile(f"[{'^' if negated else ''}{''.join(tests)}]")
    candidates = [*([] if negated else named), *_ALPHABET]
    return [each for each in dict.fromkeys(candidates) if one.fullmatch(each)] or [""]
