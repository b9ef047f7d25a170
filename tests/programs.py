"""Programs that tests start, and ports for them."""

import secrets
import socket
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

PATIENCE = 300.0
"""Seconds in which whatever waits for a program gives up; a machine may have much else to do."""


@contextmanager
def started(command: Sequence[str], **options: Any) -> "Generator[subprocess.Popen[str]]":
    """Start a program that does not outlive the block, however that ends."""
    with subprocess.Popen(command, text=True, **options) as program:  # noqa: S603 (the tests' own)
        try:
            yield program
        finally:
            program.kill()


def free_port() -> int:
    """Find a port that is free, below those that systems give out: nobody else gets it before a program listens there."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
