"""The way of a newcomer, in this environment and with a scripted model. `python -m tests.newcomer` goes all of it."""

import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentkit.testing import Raw, answer, calling, chaos
from tests import newcomer
from tests.cli import commands
from tests.cli.conftest import nothing_imported

__all__ = ["nothing_imported"]


class Model:
    """Calls the tool that it is offered, and answers."""

    def raw(self, request: Mapping[str, Any]) -> Raw:
        if request["messages"][-1]["role"] == "tool":
            return answer("Here it is.").raw(request)
        name = request["tools"][0]["function"]["name"]
        arguments = {"city": newcomer.CITY} if name == "get_weather" else {"sides": 6}
        return calling((name, arguments)).raw(request)


def give(*words: str) -> "subprocess.CompletedProcess[str]":
    done = commands.give(*words)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The examples, and an endpoint for their model."""
    shutil.copytree(newcomer.REPOSITORY / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    with chaos(Model()) as endpoint:
        monkeypatch.setenv("AGENTKIT_BASE_URL", endpoint.url)
        monkeypatch.setenv("AGENTKIT_MODEL", "m")
        yield tmp_path


def test_the_commands_of_the_readme_are_found() -> None:
    readme = newcomer.REPOSITORY / "README.md"
    assert newcomer.blocks(readme, "Try it")[0].rstrip().endswith("examples/weather.py")
    assert newcomer.blocks(readme, "Command line and server")[0] == '.venv/bin/pip install ".[cli,server]"\n'


def test_an_own_tool_and_an_agent_that_is_served(clone: Path) -> None:
    newcomer.make_tool(clone, give, model="m")
    newcomer.serve_and_ask(clone, [sys.executable, "-m", "agentkit"])


def test_an_own_city_is_answered_for(clone: Path) -> None:
    assert newcomer.CITY in newcomer.make_city(clone, give).read_text(encoding="utf-8")


@pytest.mark.browser
def test_the_page_of_the_run_opens(clone: Path) -> None:
    newcomer.open_page(newcomer.make_city(clone, give))
