"""The tables of docs/interop.md, which `python -m tests.interop --write` writes."""

from collections.abc import Mapping
from pathlib import Path

from tests.interop.clients.cells import REFUSALS
from tests.interop.runner import CELLS, CLIENTS, Row

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"


def row_of(name: str, row: Row) -> str:
    """Return a client's row: `yes` or `no` for each cell, and how many requests it made for each refusal."""
    cells = [{None: "none", "": "yes"}.get(row.cells.get(cell), "no") for cell in CELLS]
    refusals = [
        str(row.requests[status]) if row.errors[status].isidentifier() else "no" for status in sorted(REFUSALS.values())
    ]
    return f"| {' | '.join([CLIENTS[name].title, row.version, *cells, *refusals])} |"


def rewritten(page: str, name: str, rows: Mapping[str, str]) -> str:
    """Return the page with these rows, by their first columns, in the table of that name. Its other rows stay."""
    before, begin, rest = page.partition(f"<!-- {name}: begin -->\n\n")
    table, end, after = rest.partition(f"\n<!-- {name}: end -->")
    head, rule, *lines = table.splitlines()
    kept = {line.split(" | ")[0].removeprefix("| "): line for line in lines}
    return "\n".join([f"{before}{begin}{head}", rule, *{**kept, **rows}.values(), f"{end}{after}"])
