"""Draws a policy's states as SVG, in ranks from the beginning down.

States stand in even ranks, and the calls that lead to others in odd ones, as boxes of their own: no two texts share a
place. A move over several ranks has an empty box in each between. Boxes of a rank are ordered by where their neighbours
stand, and lines run from box to box. A move back, to an earlier state, is an arc at the side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import NamedTuple
from xml.sax.saxutils import escape

from agentkit.core.printable import printable

_MOST, _MOST_MOVES = 150, 500
"""States and moves that are drawn; more could not be read."""
_COLUMNS, _CHARACTER, _LINE = 30, 7.0, 16.0
_SIZE, _SIZE_OF_CALL = 13, 11
_SMALL = _SIZE_OF_CALL / _SIZE
_GAP, _RANK, _MARGIN = 24.0, 22.0, 16.0
_SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Place:
    """A state in a drawing.

    Attributes:
        label: What the model may do there.
        answers: Whether the model may answer there.
        wrong: Whether the policy contradicts itself there, or no answer can be reached.
    """

    label: str
    answers: bool
    wrong: bool


class _Move(NamedTuple):
    start: int
    end: int
    label: str


@dataclass(slots=True, eq=False)
class _Box:
    """Something that takes up room in a rank: a state, a call, or a line that passes."""

    lines: Sequence[str]
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    above: "list[_Box]" = field(default_factory=list["_Box"])
    below: "list[_Box]" = field(default_factory=list["_Box"])


def draw(places: Sequence[Place], moves: Sequence[tuple[int, int, str]]) -> str:
    """Return the states and moves of a policy as SVG."""
    reach = sorted([max(start, end) for start, end, _ in moves])
    shown = places[: min(_MOST, reach[_MOST_MOVES] if len(reach) > _MOST_MOVES else _MOST)]
    boxes = [_state(place) for place in shown]
    states = set(boxes)
    known = [_Move(*move) for move in moves if max(move[:2]) < len(shown)]
    order = _order_of_states(len(shown), known)
    forward = [move for move in known if order[move.start] < order[move.end]]
    ranks = _ranks(boxes, sorted(forward, key=lambda move: order[move.start]))
    for sweep in range(_SWEEPS):
        _order(ranks, down=sweep % 2 == 0)
    _place(ranks)
    joined = [(box, below) for rank in ranks for box in rank for below in box.below]
    parts = [_line(box, below, arrow=below in states) for box, below in joined]
    back = [move for move in known if order[move.start] >= order[move.end]]
    arcs = [_arc(boxes[end], boxes[start], label, at) for at, (start, end, label) in enumerate(back)]
    parts += [arc for arc, _ in arcs]
    parts += [_text(box, _SIZE_OF_CALL) for rank in ranks[1::2] for box in rank if box.lines]
    parts += [_rectangle(box, place) + _text(box, _SIZE) for box, place in zip(boxes, shown, strict=True)]
    width = max([right for _, right in arcs] + [box.x + box.width / 2 for rank in ranks for box in rank]) + _MARGIN
    height = max(box.y + box.height / 2 for box in boxes) + _MARGIN
    if len(places) > len(shown):
        height += _LINE
        parts.append(
            _written(f"and {len(places) - len(shown)} more states", width / 2, height - _MARGIN / 2, _SIZE_OF_CALL)
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica,Arial,sans-serif">\n'
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _state(place: Place) -> _Box:
    lines = wrap(printable(place.label), _COLUMNS) or [""]
    return _Box(lines, max(map(len, lines)) * _CHARACTER + 28, len(lines) * _LINE + 16)


def _call(label: str) -> _Box:
    lines = wrap(printable(label), _COLUMNS)
    return _Box(lines, max(map(len, lines), default=0) * _CHARACTER * _SMALL + 4, len(lines) * _LINE * _SMALL)


def _order_of_states(count: int, moves: Sequence[_Move]) -> list[int]:
    """Return the place of each state in an order in which only moves back, to a state before them, run against it."""
    following: list[list[int]] = [[] for _ in range(count)]
    for start, end, _ in moves:
        following[start].append(end)
    places, place, seen = [0] * count, count, set[int]()
    for root in range(count):
        path = [(root, iter(following[root]))] if root not in seen else []
        seen.add(root)
        while path:
            state, rest = path[-1]
            after = next((end for end in rest if end not in seen), None)
            if after is None:
                place -= 1
                places[state] = place
                path.pop()
            else:
                seen.add(after)
                path.append((after, iter(following[after])))
    return places


def _ranks(boxes: Sequence[_Box], moves: Sequence[_Move]) -> list[list[_Box]]:
    """Return the boxes by rank, and link each to those below it. A move follows all those that lead to its start."""
    rank_of = [0] * len(boxes)
    for start, end, _ in moves:
        rank_of[end] = max(rank_of[end], rank_of[start] + 2)
    ranks: list[list[_Box]] = [[] for _ in range(max(rank_of) + 1)]
    for box, rank in zip(boxes, rank_of, strict=True):
        ranks[rank].append(box)
    for start, end, label in moves:
        upper = boxes[start]
        for rank in range(rank_of[start] + 1, rank_of[end] + 1):
            lower = boxes[end] if rank == rank_of[end] else _call(label if rank == rank_of[start] + 1 else "")
            if lower is not boxes[end]:
                ranks[rank].append(lower)
            upper.below.append(lower)
            lower.above.append(upper)
            upper = lower
    return ranks


def _order(ranks: Sequence[list[_Box]], *, down: bool) -> None:
    """Sort each rank by where the neighbours of its boxes stand, in the rank before it."""
    _spread(ranks)
    for rank in ranks if down else reversed(ranks):
        for box in rank:
            if near := box.above if down else box.below:
                box.x = sum([other.x for other in near]) / len(near)
        rank.sort(key=lambda box: box.x)
        _spread([rank])


def _spread(ranks: Sequence[Sequence[_Box]]) -> None:
    """Put the boxes of each rank beside each other, around zero."""
    for rank in ranks:
        x = -sum([box.width + _GAP for box in rank]) / 2
        for box in rank:
            box.x = x + (box.width + _GAP) / 2
            x += box.width + _GAP


def _place(ranks: Sequence[Sequence[_Box]]) -> None:
    """Place each box, all to the right of and below the margins."""
    left = min([box.x - box.width / 2 for rank in ranks for box in rank])
    y = _MARGIN
    for rank in ranks:
        height = max([box.height for box in rank], default=0.0)
        for box in rank:
            box.x += _MARGIN - left
            box.y = y + height / 2
        y += height + _RANK


def _line(upper: _Box, lower: _Box, *, arrow: bool) -> str:
    begin, end = upper.y + upper.height / 2, lower.y - lower.height / 2
    middle = (begin + end) / 2
    marker = ' marker-end="url(#end)"' if arrow else ""
    return (
        f'<path d="M{upper.x:.1f},{begin:.1f} C{upper.x:.1f},{middle:.1f} {lower.x:.1f},{middle:.1f} '
        f'{lower.x:.1f},{end:.1f}" fill="none" stroke="#444"{marker}/>'
    )


def _arc(top: _Box, bottom: _Box, label: str, at: int) -> tuple[str, float]:
    """Return the line of a move back, and how far to the right it goes."""
    x, begin = bottom.x + bottom.width / 2, top.x + top.width / 2
    side = max(x, begin) + 40 + 14 * at
    path = (
        f'<path d="M{x:.1f},{bottom.y:.1f} C{side:.1f},{bottom.y:.1f} {side:.1f},{top.y:.1f} {begin:.1f},{top.y:.1f}" '
        'fill="none" stroke="#444" stroke-dasharray="4 3" marker-end="url(#end)"/>'
    )
    words = _call(label)
    words.x, words.y = side + words.width / 2, (top.y + bottom.y) / 2
    return path + _text(words, _SIZE_OF_CALL), words.x + words.width / 2


def _rectangle(box: _Box, place: Place) -> str:
    colour = 'stroke="#c92a2a" stroke-width="3"' if place.wrong else 'stroke="#444"'
    corner = box.height / 2 if place.answers else 3
    x, y = box.x - box.width / 2, box.y - box.height / 2
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{corner:.1f}" '
        f'fill="#fff" {colour}/>'
    )


def _text(box: _Box, size: int) -> str:
    step = size * _LINE / _SIZE
    top = box.y - (len(box.lines) - 1) * step / 2 + size / 3
    return "".join([_written(line, box.x, top + at * step, size) for at, line in enumerate(box.lines)])


def _written(text: str, x: float, y: float, size: int) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="middle">{escape(text)}</text>'
