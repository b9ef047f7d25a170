import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.commands import give, process

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = ("", "run", "chat", "tools", "serve", "replay", "worker", "submit", "runs")


def help_of(command: str) -> str:
    return give(*command.split(), "--help").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_the_help_of_every_command(command: str) -> None:
    shown = re.sub(r" +$", "", help_of(command), flags=re.MULTILINE).strip()
    block = f"```console\n$ agentkit {f'{command} ' if command else ''}--help\n{shown}\n```\n"
    assert block in PAGE.read_text(), f"docs/cli.md needs:\n{block}"


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_help_teaches_with_examples_that_can_be_typed(command: str) -> None:
    shown = help_of(command)
    examples = re.findall(r"agentkit (\w+)", shown.partition("Examples:")[2])
    assert command in examples
    assert set(examples) <= set(COMMANDS)


def test_help_is_plain_text() -> None:
    for command in COMMANDS:
        assert all(character.isprintable() or character == "\n" for character in help_of(command))


def test_without_a_command_help_is_shown() -> None:
    assert "Usage: agentkit [OPTIONS] COMMAND" in give().output
    assert give("-h").stdout == give("--help").stdout


def test_the_version_is_shown() -> None:
    done = give("--version")
    assert (done.exit_code, done.stdout) == (0, f"agentkit {version('agentkit-tools')}\n")


@pytest.mark.parametrize("words", [["nothing"], ["run"], ["run", "--nothing"], ["serve", "--port", "x", "y"]])
def test_what_is_used_wrongly_ends_with_2(words: list[str]) -> None:
    done = give(*words)
    assert done.exit_code == 2
    assert "Try 'agentkit" in done.stderr


@pytest.mark.parametrize("shown", [["--traceback"], []])
def test_where_an_error_came_from_is_shown_where_that_is_wanted(folder: Path, shown: list[str]) -> None:
    env = {} if shown else {"AGENTKIT_TRACEBACK": "1"}
    done = give("tools", "no.py", *shown, env=env)
    assert done.exit_code == 2
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert give("tools", "no.py").stderr == f"agentkit: there is no file {folder / 'no.py'}\n"


def test_names_of_commands_and_options_are_completed() -> None:
    env = {"_AGENTKIT_COMPLETE": "complete_bash", "COMP_WORDS": "agentkit re", "COMP_CWORD": "1"}
    assert process(env=env).stdout.split() == ["replay"]
    env = {"_AGENTKIT_COMPLETE": "complete_bash", "COMP_WORDS": "agentkit run --dr", "COMP_CWORD": "2"}
    assert process(env=env).stdout.split() == ["--dry-run"]
