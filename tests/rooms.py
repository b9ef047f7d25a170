"""The rooms of agentkit and the imports between them: `python -m tests.rooms` prints them, floor by floor."""

import ast
from collections.abc import Iterator
from pathlib import Path

import agentkit

ROOT = Path(agentkit.__file__).parent
FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("tools", "models", "sessions"),
    ("tool_choice",),
    ("runs",),
    ("agent", "observers"),
    ("durable", "server", "mcp", "testing"),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ONLY_CORE = ("tools", "models", "sessions")
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    """`agentkit.core.json` for `agentkit/core/json.py`."""
    return ".".join(["agentkit", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def room_of(module: str) -> str:
    """`core` for `agentkit.core.json`; nothing for what stands at the root."""
    room = module.removeprefix("agentkit").removeprefix(".").partition(".")[0]
    return room if room in FLOOR else ""


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, agentkit's and others."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield name if name in MODULES else module


MODULES = {module_of(path): path for path in FILES}


def arrows() -> dict[tuple[str, str], list[str]]:
    """The imports between rooms: from which to which, with the files that make them."""
    found: dict[tuple[str, str], list[str]] = {}
    for module, path in MODULES.items():
        for name in imports(path):
            above, below = room_of(module), room_of(name)
            if name.startswith("agentkit") and above and below and above != below:
                found.setdefault((above, below), []).append(module)
    return found


def drawing() -> str:
    """The rooms as text, the highest floor first, each with the rooms that it imports from."""
    lines: list[str] = []
    for number in range(len(FLOORS), 0, -1):
        for room in FLOORS[number - 1]:
            below = sorted((to for above, to in arrows() if above == room), key=lambda to: (-FLOOR[to], to))
            lines.append(f"{number}  {room:<12} {'-> ' if below else ''}{', '.join(below)}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    up = [(above, below) for above, below in arrows() if FLOOR[above] <= FLOOR[below]]
    print(drawing())  # noqa: T201 (this is the command's output)
    print(f"{len(arrows())} arrows, {len(up)} of them up or level {up or ''}".rstrip())  # noqa: T201 (as above)
