"""What was measured, as a table in Markdown and as a plot."""

import platform
from itertools import cycle
from math import log10
from statistics import median
from typing import NamedTuple

from measures import MEASURES, Numbers
from peers import FRAMEWORKS

Row = dict[str, Numbers]
"""The numbers of each peer in one round."""
Results = dict[str, list[Row]]
"""The rounds of each measure."""

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


class Budget(NamedTuple):
    """What a number of agentkit may come to.

    Attributes:
        most: The most.
        beside: The peer whose number it is a multiple of, if it is one.
        key: Which number.
        over: Which other number of agentkit it is a multiple of, if it is one.
    """

    most: float
    beside: str | None = None
    key: str = "main"
    over: str | None = None

    def __str__(self) -> str:
        if base := self.beside or self.over:
            return f"≤ {self.most:g} × {base}"
        return f"≤ {self.most:g}" + (f" {self.key}" if self.key != "main" else "")

    def value(self, rounds: list[Row]) -> float | None:
        """Return what it came to, the median of the rounds; `None` if a number is missing."""
        peer, key = self.beside or "agentkit", self.over or self.key
        values = [
            row["agentkit"][self.key] / (row[peer][key] if self.beside or self.over else 1)
            for row in rounds
            if self.key in row.get("agentkit", {}) and key in row.get(peer, {})
        ]
        return median(values) if values else None

    def told(self, rounds: list[Row]) -> str:
        """Return it behind what it came to, with `>` where it is exceeded."""
        value, text = self.value(rounds), str(self)
        if value is not None:
            text = f"{ratio(value)} {text if value <= self.most else text.replace('≤', '>')}"
        return f"{self.key}: {text}" if self.over else text


BUDGETS = {
    "import": (Budget(1.35, "httpx"),),
    "first": (Budget(1.3, "httpx"),),
    "decorate": (Budget(150),),
    "turn": (Budget(6.5, "asyncio"), Budget(0.45, "httpx+sniffio")),
    "sync": (Budget(4, "asyncio"),),
    "growth": (Budget(7, "asyncio"), Budget(1.5, key="at 10000", over="at 400")),
    "chunks": (Budget(3.5, "asyncio"), Budget(1.2, key="at 20000", over="at 2000")),
    "deltas": (Budget(3.5, "asyncio"), Budget(1.2, key="at 8000", over="at 2000")),
    "runs": (Budget(2, "asyncio"), Budget(55, key="MB"), Budget(1.3, key="at 3000", over="at 300")),
    "threads": (Budget(65),),
    "tasks": (Budget(65),),
    "tools": (Budget(8, "asyncio"),),
    "agents": (Budget(20),),
}
AHEAD = {"turn": "main", "growth": "main", "chunks": "main", "deltas": "main", "runs": "cpu", "tools": "main"}
"""The measures, each with a number of it, in which agentkit takes at most a tenth of what another framework does."""


def medians(rounds: list[Row]) -> Row:
    """Return the median of each number over the rounds."""
    return {
        name: {key: median([row[name][key] for row in rounds if name in row]) for key in numbers}
        for name, numbers in {name: numbers for row in rounds for name, numbers in row.items()}.items()
    }


def exceeded(found: Results) -> list[str]:
    """Return a line for each budget of what was measured that is exceeded, or whose numbers are missing."""
    lines: list[str] = []
    for measure, rounds in found.items():
        others = [name for name in FRAMEWORKS if measure in AHEAD and any(name in row for row in rounds)]
        for budget in (*BUDGETS[measure], *[Budget(0.1, name, AHEAD[measure]) for name in others]):
            value = budget.value(rounds)
            if value is None or value > budget.most:
                lines.append(f"{measure}: {budget.told(rounds)}{'' if value is not None else ', not measured'}")
    return lines


def number(value: float) -> str:
    """Return a number with the digits that matter."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004 (three digits)
    return f"{value:,.{digits}f}"


def tables(found: Results) -> str:
    """Return a table of agentkit and the loops that are written by hand, and one of the other frameworks."""
    peers = list(dict.fromkeys(name for rounds in found.values() for row in rounds for name in row))
    others = [name for name in peers if name in FRAMEWORKS]
    text = beside_loops(found, [name for name in peers if name not in FRAMEWORKS])
    return f"{text}\n{beside_frameworks(found, others)}" if others else text


def beside_loops(found: Results, peers: list[str]) -> str:
    """Return a table with agentkit's budgets, each beside what it came to."""
    lines = [["", "unit", "budgets", *peers]]
    for measure, rounds in found.items():
        title, unit = MEASURES[measure][:2]
        budgets = "<br>".join([budget.told(rounds) for budget in BUDGETS[measure]])
        lines.append([title, unit, budgets, *[_cell(rounds, name) for name in peers]])
    return _markdown(lines, words=3)


def beside_frameworks(found: Results, others: list[str]) -> str:
    """Return a table with other frameworks; what stands in brackets is the ratio to agentkit."""
    lines = [["", "unit", "agentkit", *others]]
    for measure, rounds in found.items():
        title, unit = MEASURES[measure][:2]
        lines.append([title, unit, _cell(rounds, "agentkit"), *[_cell(rounds, name, "agentkit") for name in others]])
    return _markdown(lines, words=2)


def _markdown(lines: list[list[str]], words: int) -> str:
    """Write a table whose first columns are words and whose others are numbers."""
    head, *body = lines
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body))


def _cell(rounds: list[Row], name: str, base: str | None = None) -> str:
    values = [row[name]["main"] for row in rounds if name in row]
    ratios = [row[name]["main"] / row[base]["main"] for row in rounds if base in row and name in row]
    return (number(median(values)) if values else "") + (f" ({ratio(median(ratios))} ×)" if ratios else "")


def ratio(value: float) -> str:
    """Return a ratio with the digits that matter."""
    return number(value) if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 (three digits)


def rewritten(page: str, found: Results, versions: dict[str, str]) -> str:
    """Put what was measured into the place that a page has for it."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    installed = "".join(f", {name} {version}" for name, version in versions.items())
    where = f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}{installed}."
    return f"{before}{BEGIN}\n{tables(found)}\n{where}{_besides(found)}\n\n{END}{after}"


def _besides(found: Results) -> str:
    """Return what the table has no column for."""
    agents = medians(found.get("agents", [])).get("agentkit")
    return f" One more agent keeps {number(agents['bytes'])} bytes." if agents else ""


# The plot: both axes are logarithmic. It is drawn as wide as a phone, so that its text can be read there.
WIDTH, HEIGHT = 480, 420
LEFT, RIGHT, TOP, BOTTOM = 78, 120, 16, 54
LINE = 17  # the height of a line of text
# They differ in lightness too; the first is agentkit.
COLOURS = (
    "#d6336c", "#1971c2", "#0ca678", "#868e96", "#7048e8", "#f08c00", "#22b8cf", "#74b816", "#a0522d", "#be4bdb",
    "#ff8787",
)  # fmt: skip
STYLE = """<style>
text { font: 14px sans-serif; fill: #495057 }
.grid { stroke: #868e96; stroke-opacity: 0.3 }
.line { fill: none; stroke-width: 2 }
.ours { stroke-width: 4.5 }
.loop { stroke-dasharray: 6 3 }
.name { font-weight: 600; paint-order: stroke; stroke: #fff; stroke-width: 3px }
@media (prefers-color-scheme: dark) { text { fill: #ced4da } .name { stroke: #1e2129 } }
</style>"""


def plot(row: Row) -> str:
    """Draw the time of a turn against the length of the conversation, as SVG."""
    lines = {
        name: [(float(key[3:]), value) for key, value in numbers.items() if key.startswith("at ") and value > 0]
        for name, numbers in row.items()
    }
    lengths = sorted({length for line in lines.values() for length, _ in line})
    times = [time for line in lines.values() for _, time in line]
    low, high = 10.0 ** int(log10(min(times))), 10.0 ** (int(log10(max(times))) + 1)

    def across(length: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * _part(length, lengths[0], lengths[-1])

    def up(time: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _part(time, low, high)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">', STYLE]
    parts.append("<title>The time of the processor for one turn, by the length of the conversation</title>")
    tick = low
    while tick <= high:
        parts.append(f'<path class="grid" d="M{LEFT} {up(tick):.0f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{up(tick) + 4:.0f}" text-anchor="end">{_seconds(tick)}</text>')
        tick *= 10
    for length in lengths:
        at = f'x="{across(length):.0f}" y="{HEIGHT - BOTTOM + 20}"'
        parts.append(f'<text {at} text-anchor="middle">{_short(length)}</text>')
    at = f'x="{(LEFT + WIDTH - RIGHT) // 2}" y="{HEIGHT - 10}"'
    parts.append(f'<text {at} text-anchor="middle">messages in the conversation</text>')
    at = f'transform="translate(15 {(TOP + HEIGHT - BOTTOM) // 2}) rotate(-90)"'
    parts.append(f'<text {at} text-anchor="middle">CPU time of a turn</text>')
    taken: list[float] = []
    labels: list[str] = []  # drawn last, so that no line crosses them
    from_the_top = sorted(zip(lines.items(), cycle(COLOURS), strict=False), key=lambda line: -line[0][1][-1][1])
    for (name, line), colour in from_the_top:
        points = " ".join(f"{across(length):.1f},{up(time):.1f}" for length, time in line)
        height = _free(up(line[-1][1]) + 4, taken)
        kind = "ours" if name == "agentkit" else "other" if name in FRAMEWORKS else "loop"
        parts.append(f'<polyline class="line {kind}" stroke="{colour}" points="{points}"/>')
        at = f'x="{across(line[-1][0]) + 6:.0f}" y="{height:.0f}"'
        labels.append(f'<text class="name" {at} style="fill: {colour}">{name}</text>')
    return "\n".join([*parts, *labels, "</svg>"]) + "\n"


def _seconds(microseconds: float) -> str:
    """Write a power of ten: `100 µs`, `10 ms`, `1 s`."""
    steps = min(int(log10(microseconds)) // 3, 2)
    return f"{microseconds / 1000**steps:,.0f} {('µs', 'ms', 's')[steps]}"


def _short(count: float) -> str:
    return f"{count:.0f}" if count < 1000 else f"{count / 1000:.1f}k"  # noqa: PLR2004 (a thousand)


def _part(value: float, low: float, high: float) -> float:
    return (log10(value) - log10(low)) / ((log10(high) - log10(low)) or 1)


def _free(place: float, taken: list[float]) -> float:
    """Return a place for a label where no other stands."""
    while any(abs(place - other) < LINE for other in taken):
        place += LINE
    taken.append(place)
    return place
