import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.commands import give

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = ("", "run", "chat", "tools", "policy", "serve", "replay", "view", "worker", "submit", "runs")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_the_page_has_it(command: str) -> None:
    text = give(*command.split(), "--help").stdout
    shown = re.sub(r" +$", "", text, flags=re.MULTILINE).strip()
    block = f"```console\n$ agentkit {f'{command} ' if command else ''}--help\n{shown}\n```\n"
    assert block in PAGE.read_text(), f"docs/cli.md needs:\n{block}"
    assert all(character.isprintable() or character == "\n" for character in text)
    examples = re.findall(r"agentkit (\w+)", text.partition("Examples:")[2])
    assert not command or command in examples
    assert set(examples) <= set(COMMANDS)


def test_the_app_itself() -> None:
    assert "Usage: agentkit [OPTIONS] COMMAND" in give().output
    assert give("-h").stdout == give("--help").stdout
    done = give("--version")
    assert (done.exit_code, done.stdout) == (0, f"agentkit {version('agentkit-tools')}\n")


@pytest.mark.parametrize("words", [["nothing"], ["run"], ["run", "--nothing"], ["serve", "--port", "x", "y"]])
def test_wrong_usage(words: list[str]) -> None:
    done = give(*words)
    assert done.exit_code == 2
    assert "Try 'agentkit" in done.stderr


@pytest.mark.parametrize(("words", "env"), [(["--traceback"], {}), ([], {"AGENTKIT_TRACEBACK": "1"})])
def test_a_traceback_is_shown_on_request(folder: Path, words: list[str], env: dict[str, str]) -> None:
    assert give("tools", "no.py", *words, env=env).stderr.startswith("Traceback (most recent call last):\n")
    plain = give("tools", "no.py")
    assert (plain.exit_code, plain.stderr) == (2, f"agentkit: there is no file {folder / 'no.py'}\n")


@pytest.mark.parametrize(("typed", "at", "completed"), [("re", "1", "replay"), ("run --dr", "2", "--dry-run")])
def test_commands_and_options_are_completed(typed: str, at: str, completed: str) -> None:
    env = {"_AGENTKIT_COMPLETE": "complete_bash", "COMP_WORDS": f"agentkit {typed}", "COMP_CWORD": at}
    assert give(env=env).stdout.split() == [completed]
