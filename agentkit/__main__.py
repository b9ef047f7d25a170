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
    """Do what the command line says; `agentkit --help` tells of it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show is no error
    try:
        app = import_module("agentkit.cli").app
    except MissingExtra as missing:
        print(f"agentkit: {missing}", file=sys.stderr)  # noqa: T201 (there is nothing else to tell it with)
        sys.exit(_USAGE)
    try:
        app(prog_name="agentkit")
    except SystemExit as end:
        if any(not each.daemon and each is not main_thread() for each in threads()):
            _leave(int(end.code or 0))  # a tool that was stopped may go on in its thread for long
        raise


def _leave(code: int) -> None:
    """End the process without waiting for its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
