"""The command line: `agentkit`, or `python -m agentkit`."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from threading import enumerate as threads
from threading import main_thread

from agentkit.core.errors import MissingExtra

_USAGE = 2


def main() -> None:
    """Run the command line; see `agentkit --help`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not know every character
    try:
        app = import_module("agentkit.cli").app
    except MissingExtra as missing:
        print(f"agentkit: {missing}", file=sys.stderr)  # noqa: T201 (without the extra, there is no typer to print it)
        sys.exit(_USAGE)
    try:
        app(prog_name="agentkit")
    except SystemExit as end:
        if any(not thread.daemon and thread is not main_thread() for thread in threads()):
            _exit_now(int(end.code or 0))  # a cancelled tool may still run in its thread
        raise


def _exit_now(code: int) -> None:
    """End the process without waiting for its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
