"""Draws the graphs of the pages with Graphviz, where their sources have changed: `python -m tests.drawings`.

A drawing says of which source it was made, so that a test finds one that is out of date, without Graphviz.
"""

import subprocess
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs/tool-choice"
SOURCES = sorted(FOLDER.glob("*.dot"))


def mark(source: Path) -> str:
    """Return the comment by which a drawing names its source."""
    return f"<!-- drawn from {source.name} {sha256(source.read_bytes()).hexdigest()} -->\n"


def is_current(source: Path) -> bool:
    drawing = source.with_suffix(".svg")
    return drawing.exists() and drawing.read_text().endswith(mark(source))


def draw(source: Path) -> None:
    drawn = subprocess.run(["dot", "-Tsvg", source], capture_output=True, text=True, check=True)  # noqa: S603, S607
    source.with_suffix(".svg").write_text(f"{drawn.stdout.rstrip()}\n{mark(source)}")


if __name__ == "__main__":
    for changed in [source for source in SOURCES if not is_current(source)]:
        draw(changed)
