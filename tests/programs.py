"""Programs that tests start, and ports for them."""

import secrets
import socket
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

PATIENCE = 300.0
"""The timeout in seconds for everything that waits for a program; the machine may be busy."""


@contextmanager
def started(command: Sequence[str], **options: Any) -> "Generator[subprocess.Popen[str]]":
    """Start a program, and kill it at the end of the block."""
    with subprocess.Popen(command, text=True, **options) as program:  # noqa: S603 (the tests' own)
        try:
            yield program
        finally:
            program.kill()


def free_port() -> int:
    """Return a free port below the ephemeral ones, so that nobody else gets it before a program listens on it."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
