"""What differs between two runs: which of their items correspond."""

import json
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import cast

from agentkit.viewer.document import Json

_MOST = 2_000
"""Items that are matched one by one; a longer middle is compared place by place, as matching takes the square of it."""
_NO_DIFFERENCE = ("began", "seconds", "waited", "usage", "id", "number", "retried")

Pair = tuple[int | None, int | None, bool]


def differences(one: Json, other: Json) -> list[Pair]:
    """Return which items of two runs correspond: their places, `None` where one run has nothing, and if they are alike.

    Items that do the same are a pair, whatever they cost and took. What stands between two pairs is paired in order.
    """
    left, right = [[_meaning(item) for item in cast("list[Json]", run["items"])] for run in (one, other)]
    begin = _same(left, right)
    end = _same(left[begin:][::-1], right[begin:][::-1])
    middle = left[begin : len(left) - end], right[begin : len(right) - end]
    pairs: list[Pair] = [(at, at, True) for at in range(begin)]
    for tag, low, high, other_low, other_high in _blocks(*middle):
        same = tag == "equal"
        pairs += _paired(range(begin + low, begin + high), range(begin + other_low, begin + other_high), same=same)
    return pairs + [(len(left) - back, len(right) - back, True) for back in range(end, 0, -1)]


def _meaning(item: object) -> str:
    """Return what an item does, without what differs from run to run."""

    def bare(value: object) -> object:
        if isinstance(value, dict):
            fields = cast("Json", value)
            return {name: bare(held) for name, held in fields.items() if name not in _NO_DIFFERENCE}
        return [bare(held) for held in cast("list[object]", value)] if isinstance(value, list) else value

    return json.dumps(bare(item), sort_keys=True)


def _same(left: Sequence[str], right: Sequence[str]) -> int:
    """Return how many items are the same from the beginning on."""
    return next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other),
                min(len(left), len(right)))  # fmt: skip


def _blocks(left: Sequence[str], right: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    if max(len(left), len(right)) > _MOST:
        return [("replace", 0, len(left), 0, len(right))]
    return [*SequenceMatcher(None, left, right, autojunk=False).get_opcodes()]


def _paired(left: range, right: range, *, same: bool) -> list[Pair]:
    """Pair the items of two blocks place by place; the longer one has the rest alone."""
    shorter = min(len(left), len(right))
    pairs: list[Pair] = [(one, other, same) for one, other in zip(left, right, strict=False)]
    return [*pairs, *[(at, None, False) for at in left[shorter:]], *[(None, at, False) for at in right[shorter:]]]
