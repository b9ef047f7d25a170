"""Giving commands: in this process, in one of its own, and at a terminal (which needs a Unix)."""

import fcntl
import os
import re
import selectors
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte
from pyte.screens import Char
from typer.testing import CliRunner, Result

from agentkit.cli import app
from agentkit.testing import Raw, answer, calling, status
from tests.programs import PATIENCE

_AT_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def give(*words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
    """Give a command in this process, in a pipe."""
    return CliRunner().invoke(app, words, input=stdin, env=dict(env or {}), prog_name="agentkit")


def process(
    *words: str, env: Mapping[str, str] | None = None, program: Sequence[str] = ("-m", "agentkit")
) -> subprocess.CompletedProcess[str]:
    """Give a command in a process of its own, in a pipe."""
    command = [sys.executable, *program, *words]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(  # noqa: S603 (the command under test)
        command, input="", capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment
    )


class Weather:
    """A model that calls the tools of the agent, as replies for `chaos`."""

    def raw(self, request: Mapping[str, Any]) -> Raw:
        last = request["messages"][-1]
        prompt = str(last["content"])
        if last["role"] == "tool":
            return answer(f"I heard: {prompt}").raw(request)
        if "fail" in prompt:
            return status(400, body={"error": {"message": "it cannot be asked"}})
        if "rain" in prompt:
            return calling(("get_weather", {"city": "Paris"})).raw(request)
        if "book" in prompt:
            return calling(("book_table", {"place": "Ritz"})).raw(request)
        return answer("Hello to you").raw(request)


class Terminal:
    """A command at a terminal."""

    def __init__(self, master: int, process: "subprocess.Popen[bytes]") -> None:
        self._master = master
        self.process = process
        self.seen = self.raw = ""
        self._read = 0
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)

    def expect(self, wanted: str) -> None:
        """Wait until a text is written, after what was waited for before."""
        self._wait(wanted, lambda: self.seen.find(wanted, self._read) >= 0)
        self._read = self.seen.index(wanted, self._read) + len(wanted)

    def shows(self, wanted: str) -> str:
        """Wait until a person sees a text that fits a pattern, and return all of the screen."""
        self._wait(wanted, lambda: re.search(wanted, self.screen) is not None)
        return self.screen

    @property
    def screen(self) -> str:
        return "\n".join([line.rstrip() for line in self._screen.display]).rstrip()

    @property
    def lines(self) -> list[list[Char]]:
        """The cells of the lines that have something."""
        rows = [[self._screen.buffer[row][column] for column in range(80)] for row in range(24)]
        return rows[: len(self.screen.splitlines())]

    def _wait(self, wanted: str, came: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self._master, selectors.EVENT_READ)
            while not came():
                assert selector.select(max(ends - time.monotonic(), 0)), (
                    f"{wanted!r} did not come:\n{self.seen[self._read :]}"
                )
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # the process is gone
                    data = b""
                assert data, f"{wanted!r} did not come before the end:\n{self.seen[self._read :]}"
                self._stream.feed(data)
                self.raw += data.decode(errors="replace")
                self.seen = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", self.raw)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Wait for the end of the command."""
        return self.process.wait(PATIENCE)


@contextmanager
def terminal(
    *words: str, env: Mapping[str, str] | None = None, width: int = 80, within: Sequence[str] = ()
) -> Generator[Terminal]:
    """Give a command at a terminal, perhaps within another program, as tmux is."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    size = {"COLUMNS": str(width), "LINES": "24", "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    environment = {**os.environ, **size, **(env or {})}
    command = [sys.executable, "-c", _AT_TERMINAL, *within, sys.executable, "-m", "agentkit", *words]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=Path.cwd()) as started:  # noqa: S603
        os.close(slave)
        try:
            yield Terminal(master, started)
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGKILL)
            os.close(master)
