"""The way of a newcomer, as the README and the pages say: `python -m tests.newcomer`.

It clones the repository, gives the README's first command, writes a tool, adds a city to the weather bot, serves it, asks
it with curl and the `openai` package, and opens the stored run in Chromium, all on the embedded model. That takes minutes
and needs a package index. `tests/test_newcomer.py` goes the same way in this process, with a scripted endpoint.
"""

import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from openai import OpenAI

from tests.browser import browser
from tests.programs import PATIENCE, started

REPOSITORY = Path(__file__).parent.parent
CITY = "Hintertupfing"
QUESTION = f"What is the weather in {CITY}?"
# As the first program of the README, with another tool.
DICE = '''from agentkit import Agent, tool

@tool
def roll_dice(sides: int = 6) -> int:
    """Roll a die.

    Args:
        sides: How many sides the die has.
    """
    return 4

agent = Agent("local", tools=[roll_dice])
'''

Give: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
"""Gives a command of agentkit, in the folder of the clone."""


def said(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def blocks(page: Path, heading: str) -> list[str]:
    """Return the commands below a heading, each as one text; the first of them are those of the page's first block."""
    section = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return [command for block in found for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]


def make_tool(clone: Path, give: Give, model: str = "local") -> None:
    """Write a tool, look at it, and have it called."""
    (clone / "dice.py").write_text(DICE.replace("local", model), encoding="utf-8")
    listed = give("tools", "dice.py")
    assert (listed.returncode, "roll_dice" in listed.stdout) == (0, True), listed
    rolled = give("run", "dice.py", "Roll a die with 6 sides.")
    assert (rolled.returncode, "→ roll_dice(" in rolled.stderr) == (0, True), rolled


def make_city(clone: Path, give: Give) -> Path:
    """Add a city to the weather bot, ask for it, and store the run; return its page."""
    cities = clone / "examples/cities.txt"
    cities.write_text(f"{cities.read_text(encoding='utf-8')}{CITY} 48.0\n", encoding="utf-8")
    asked = give("run", "examples/weather.py", "--json", QUESTION)
    assert asked.returncode == 0, asked
    (clone / "run.json").write_text(asked.stdout, encoding="utf-8")
    results = [message["content"] for message in json.loads(asked.stdout)["messages"] if message["role"] == "tool"]
    assert f'"city":"{CITY}"' in results[0], results
    shown = give("view", "run.json", "--agent", "examples/weather.py")
    assert (shown.returncode, shown.stderr) == (0, "agentkit: wrote run.html\n"), shown
    return clone / "run.html"


def ask_served(notice: str) -> None:
    """Ask what is served: by the command of the notice, and by the `openai` package."""
    curl = next(line for line in notice.splitlines() if "curl " in line).partition("curl ")[2]
    answered = subprocess.run(["curl", "-sS", *shlex.split(curl)], capture_output=True, text=True, check=True)  # noqa: S603, S607 (as the newcomer does)
    assert json.loads(answered.stdout)["choices"][0]["message"]["content"], answered
    url = re.findall(r"http://\S+/v1\b", notice)[0]
    with OpenAI(base_url=url, api_key="none", timeout=PATIENCE) as client:
        reply = client.chat.completions.create(model="weather", messages=[{"role": "user", "content": QUESTION}])
    assert reply.choices[0].message.content


def serve_and_ask(clone: Path, command: Sequence[str]) -> None:
    """Serve the weather bot until it was asked."""
    words = [*command, "serve", "examples/weather.py", "--port", "0"]
    with started(words, cwd=clone, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as server:
        notice = ""
        for line in server.stderr or ():
            notice += line
            if "Ctrl-C" in line:
                break
        ask_served(notice)


def open_page(page: Path) -> None:
    """Open the page of a run in Chromium: its steps are there, and nothing went wrong."""
    with browser() as opened:
        opened.goto(page)
        assert CITY in opened.text("#list")
        opened.press("n")
        assert opened.problems == []


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "agentkit"
        command = [str(clone / ".venv/bin/agentkit")]

        def give(*words: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run([*command, *words], cwd=clone, capture_output=True, text=True, check=False, input="")  # noqa: S603

        def shell(line: str) -> None:
            said(f"$ {line.strip()}")
            subprocess.run(line, shell=True, cwd=clone, check=True)  # noqa: S602 (of the README)

        subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)  # noqa: S603, S607
        shell(blocks(clone / "README.md", "Try it")[0])
        shell(blocks(clone / "README.md", "Command line and server")[0])
        make_tool(clone, give)
        page = make_city(clone, give)
        serve_and_ask(clone, command)
        open_page(page)
        said("a tool, a city, a server and a page: all as the README says")


if __name__ == "__main__":
    main()
