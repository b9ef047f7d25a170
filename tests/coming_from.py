"""Runs the programs of other frameworks on the page "Coming from": `python -m tests.coming_from [NAME …]`.

uv makes an environment with each framework. The endpoint is scripted, so a program that prints the answer works.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentkit.testing import Reply, answer, calling, chaos

ROOT = Path(__file__).parent.parent
OURS, THEIRS = ROOT / "examples/coming_from", ROOT / "docs/coming_from"
PACKAGES: Mapping[str, Sequence[str]] = {
    "openai": ["openai"],
    "pydantic_ai": ["pydantic-ai-slim[openai]"],
    "openai_agents": ["openai-agents"],
    "langchain": ["langchain", "langchain-openai"],
    "smolagents": ["smolagents[openai]"],
}
ANSWER = "Yes: light rain."
_LOOK = calling(("get_weather", {"city": "Paris"}))
_SCRIPTS: Mapping[str, Sequence[Reply]] = {"smolagents": [_LOOK, calling(("final_answer", {"answer": ANSWER}))]}


def script(name: str, *, theirs: bool) -> Sequence[Reply]:
    """Return the replies to a program."""
    return _SCRIPTS.get(name, ()) if theirs and name in _SCRIPTS else [_LOOK, answer(ANSWER)]


def printed_by_theirs(name: str, folder: str) -> str:
    """Run a program in an environment with its framework, and return what it printed."""
    packages = [word for package in PACKAGES[name] for word in ("--with", package)]
    command = ["uv", "run", "--no-project", "--isolated", *packages, "python", str(THEIRS / f"from_{name}.py")]
    with chaos(*script(name, theirs=True)) as endpoint:
        environment = {**os.environ, "OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": "sk-1"}
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if not any(message["role"] == "tool" for message in endpoint.requests[-1]["messages"]) and name != "smolagents":
            return "no tool was called"
    return done.stdout.strip()


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    failed = False
    for chosen in sys.argv[1:] or PACKAGES:
        with TemporaryDirectory() as place:
            output = printed_by_theirs(chosen, place)
        failed |= output != ANSWER
        print(f"{chosen}: {'ok' if output == ANSWER else output or 'failed'}")  # noqa: T201
    sys.exit(failed)
