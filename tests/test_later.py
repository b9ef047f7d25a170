import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("line", "without"),
    [
        ("import agentkit", {"agentkit.agent", "agentkit.errors", "pydantic_core"}),
        ("from agentkit import Agent, tool", {"agentkit.client", "asyncio", "httpx", "pydantic.main", "sqlite3"}),
        ("from agentkit import ChatClient", {"agentkit.agent", "agentkit.sessions", "multiprocessing"}),
    ],
)
def test_what_a_program_does_not_name_is_not_loaded(line: str, without: set[str]) -> None:
    code = f"import sys; {line}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    loaded = set(ran.stdout.split())
    assert "agentkit" in loaded
    assert not loaded & without
