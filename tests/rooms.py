"""The rooms of agentkit and the imports between them.

python -m tests.rooms           # print the rooms, floor by floor
python -m tests.rooms --write   # draw them: docs/rooms.svg
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import agentkit

ROOT = Path(agentkit.__file__).parent
PICTURE = ROOT.parent / "docs/rooms.svg"
FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("models", "tools", "sessions"),
    ("tool_choice",),
    ("viewer",),
    ("runs",),
    ("agent", "observers"),
    ("durable", "server", "mcp", "testing", "evals"),
    ("cli",),
)
PURPOSES = {
    "core": "values, ports, errors",
    "tools": "a function as a tool",
    "models": "client, local, wrappers",
    "sessions": "stored conversations",
    "tool_choice": "the policies",
    "viewer": "runs as pages",
    "runs": "the loop: one run, or many",
    "agent": "Agent, sub-agents, handoffs",
    "observers": "logs, OpenTelemetry",
    "durable": "runs on DBOS",
    "server": "chat completions, served",
    "mcp": "Model Context Protocol",
    "testing": "fakes, cassettes, lint",
    "evals": "cases, reports",
    "cli": "the command line",
}
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ONLY_CORE = ("tools", "models", "sessions")
FILES = sorted(ROOT.rglob("*.py"))

# The drawing, in pixels. Boxes have a colour of their own, so that it reads on a light and on a dark page.
WIDTH, MARGIN, BOX_WIDTH, BOX_HEIGHT, FLOOR_HEIGHT, LONG_WAY = 1060, 24, 190, 52, 96, 3
STYLE = """\
<style>
text { font-family: system-ui, sans-serif; text-anchor: middle; fill: #fff }
.name { font-size: 15px; font-weight: 600 }
.purpose { font-size: 12px }
.floor { font-size: 12px; fill: #888; text-anchor: start }
rect { fill: #00796b }
path { fill: none; stroke: #888; stroke-width: 1.5 }
</style>"""


def module_of(path: Path) -> str:
    """`agentkit.core.json` for `agentkit/core/json.py`."""
    return ".".join(["agentkit", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def room_of(module: str) -> str:
    """`core` for `agentkit.core.json`; nothing for what stands at the root."""
    room = module.removeprefix("agentkit").removeprefix(".").partition(".")[0]
    return room if room in FLOOR else ""


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, agentkit's and others."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield name if name in MODULES else module


MODULES = {module_of(path): path for path in FILES}


@cache
def arrows() -> dict[tuple[str, str], list[str]]:
    """The imports between rooms: from which to which, with the files that make them."""
    files: dict[tuple[str, str], list[str]] = {}
    for module, path in MODULES.items():
        for name in imports(path):
            above, below = room_of(module), room_of(name)
            if name.startswith("agentkit") and above and below and above != below:
                files.setdefault((above, below), []).append(module)
    return files


def listing() -> str:
    """The rooms as text, the highest floor first, each with the rooms that it imports from."""
    lines: list[str] = []
    for number in range(len(FLOORS), 0, -1):
        for room in FLOORS[number - 1]:
            below = sorted((to for above, to in arrows() if above == room), key=lambda to: (-FLOOR[to], to))
            lines.append(f"{number}  {room:<12} {'-> ' if below else ''}{', '.join(below)}".rstrip())
    return "\n".join(lines)


def shown_arrows() -> list[tuple[str, str]]:
    """The arrows that no chain of others implies: if `cli` imports `agent` and `agent` imports `core`, not `cli` to `core`."""
    direct: dict[str, set[str]] = {room: {to for above, to in arrows() if above == room} for room in FLOOR}

    def below(room: str) -> set[str]:
        return direct[room].union(*[below(to) for to in direct[room]])

    return sorted(
        (room, to)
        for room, targets in direct.items()
        for to in targets
        if not any(to in below(other) for other in targets)
    )


def corner(room: str) -> tuple[float, float]:
    """The upper left corner of a room's box."""
    floor = FLOOR[room]
    rooms = FLOORS[floor]
    free = WIDTH - 2 * MARGIN - len(rooms) * BOX_WIDTH
    gap = free / (len(rooms) + 1)
    x = MARGIN + gap + rooms.index(room) * (BOX_WIDTH + gap)
    return x, MARGIN / 2 + (len(FLOORS) - 1 - floor) * FLOOR_HEIGHT


def arrow(room: str, to: str) -> str:
    """A line from one room down to another; one that would pass behind many boxes goes round them, on the right."""
    (x, y), (to_x, to_y) = corner(room), corner(to)
    half, middle = BOX_WIDTH / 2, y + BOX_HEIGHT / 2
    if FLOOR[room] - FLOOR[to] > LONG_WAY:
        lane, turn = WIDTH - MARGIN / 2, to_y - FLOOR_HEIGHT
        return (
            f'<path d="M{x + BOX_WIDTH:g} {middle:g} H{lane - FLOOR_HEIGHT:g} Q{lane:g} {middle:g} {lane:g} '
            f'{middle + FLOOR_HEIGHT:g} V{turn:g} C{lane:g} {to_y:g} {to_x + half:g} {turn:g} {to_x + half:g} {to_y:g}"/>'
        )
    start, bend = y + BOX_HEIGHT, (y + BOX_HEIGHT + to_y) / 2
    return (
        f'<path d="M{x + half:g} {start:g} C{x + half:g} {bend:g} {to_x + half:g} {bend:g} {to_x + half:g} {to_y:g}"/>'
    )


def drawing() -> str:
    """The rooms as an SVG picture, the highest floor on top."""
    height = (len(FLOORS) - 1) * FLOOR_HEIGHT + BOX_HEIGHT + MARGIN
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">']
    parts += ["<title>The rooms of agentkit: each imports only from rooms below it</title>", STYLE]
    parts += [arrow(room, to) for room, to in shown_arrows()]
    for room, purpose in PURPOSES.items():
        x, y = corner(room)
        middle = x + BOX_WIDTH / 2
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>')
        parts.append(f'<text class="name" x="{middle:g}" y="{y + 22:g}">{room}</text>')
        parts.append(f'<text class="purpose" x="{middle:g}" y="{y + 40:g}">{purpose}</text>')
    for floor in range(len(FLOORS)):
        y = MARGIN / 2 + (len(FLOORS) - 1 - floor) * FLOOR_HEIGHT + BOX_HEIGHT / 2
        parts.append(f'<text class="floor" x="2" y="{y:g}">{floor + 1}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PICTURE.write_text(drawing())
    up = [(above, below) for above, below in arrows() if FLOOR[above] <= FLOOR[below]]
    print(listing())  # noqa: T201 (this is the command's output)
    print(f"{len(arrows())} arrows, {len(up)} of them up or level {up or ''}".rstrip())  # noqa: T201 (as above)
