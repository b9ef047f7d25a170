"""Draws the graphs of the pages with Graphviz, where their sources have changed: `python -m tests.drawings`.

A drawing says of which source it was made, so that a test finds one that is out of date, without Graphviz.
"""

import subprocess
from contextlib import redirect_stdout
from hashlib import sha256
from importlib import import_module
from io import StringIO
from pathlib import Path

from agentkit.tool_choice import analyse

FOLDER = Path(__file__).parent.parent / "docs/tool-choice"
# The policies that are drawn: the module and the name of each, its tools, and the tool that ends the run.
POLICIES = {
    "triage": ("examples.triage", "desk", "classify find_order refund search_help file_ticket", ""),
    "nightly": ("examples.nightly", "script", "list_products count_stock send_report", "send_report"),
    "wasteful": ("examples.words.proofs", "policy", "search verify", ""),
}
NAMES = ("idea", *POLICIES)


def source_of(name: str) -> str:
    """Return what is drawn, in Graphviz's language."""
    if name not in POLICIES:
        return (FOLDER / f"{name}.dot").read_text()
    module, policy, tools, stop_at = POLICIES[name]
    with redirect_stdout(StringIO()):  # an example prints
        held = getattr(import_module(module), policy)
    return analyse(held, tools.split(), stop_at=stop_at.split()).graph.dot()


def mark(name: str) -> str:
    """Return the comment by which a drawing names its source."""
    return f"<!-- drawn from {name} {sha256(source_of(name).encode()).hexdigest()} -->\n"


def is_current(name: str) -> bool:
    drawing = FOLDER / f"{name}.svg"
    return drawing.exists() and drawing.read_text().endswith(mark(name))


def draw(name: str) -> None:
    drawn = subprocess.run(["dot", "-Tsvg"], input=source_of(name), capture_output=True, text=True, check=True)  # noqa: S607
    (FOLDER / f"{name}.svg").write_text(f"{drawn.stdout.rstrip()}\n{mark(name)}")


if __name__ == "__main__":
    for changed in [name for name in NAMES if not is_current(name)]:
        draw(changed)
