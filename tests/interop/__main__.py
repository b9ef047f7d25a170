"""Runs clients against the served agent, each in an environment of its own.

    python -m tests.interop                          # all of them; prints what is wrong
    python -m tests.interop --only langchain,litellm --keep
    python -m tests.interop --mcp                    # the conformance suite of the Model Context Protocol
    python -m tests.interop --write                  # rewrites the rows of docs/interop.md too

It needs uv. Node is that of the project's environment.
"""

import argparse
import logging
import sys
from collections.abc import Iterable

from tests.interop import conformance
from tests.interop.environments import FOLDER, Failed, environment
from tests.interop.page import PAGE, rewritten, row_of
from tests.interop.runner import CLIENTS, tried


def try_clients(names: Iterable[str], *, keep: bool) -> tuple[dict[str, str], list[str]]:
    """Return the rows of these clients by their titles, and what is wrong."""
    rows: dict[str, str] = {}
    wrong: list[str] = []
    for name in names:
        client = CLIENTS[name]
        try:
            with environment(name, client, keep=keep) as command:
                row = tried(command, str(FOLDER / name))
        except Failed as error:
            wrong.append(f"{name}: {error}")
            continue
        rows[client.title] = row_of(name, row)
        wrong += [f"{name}: {what}" for what in row.wrong]
        print(rows[client.title], dict(row.errors), flush=True)  # noqa: T201 (a run takes minutes)
    return rows, wrong


def main() -> None:
    """Read the command line, run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"of {', '.join(CLIENTS)}; the default is all of them")
    parser.add_argument("--mcp", action="store_true", help="run the conformance suite of MCP instead")
    parser.add_argument("--keep", action="store_true", help=f"leave the environments in {FOLDER.name}")
    parser.add_argument("--write", action="store_true", help="rewrite the tables of the documentation")
    given = parser.parse_args()
    logging.getLogger("agentkit.server").addHandler(logging.NullHandler())  # the clients are refused on purpose
    names = given.only.split(",") if given.only else [*CLIENTS]
    if unknown := set(names) - set(CLIENTS):
        parser.error(f"there is no client {', '.join(sorted(unknown))}")
    rows, wrong = conformance.try_all(keep=given.keep) if given.mcp else try_clients(names, keep=given.keep)
    if given.write:
        PAGE.write_text(rewritten(PAGE.read_text(), "mcp" if given.mcp else "clients", rows))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
