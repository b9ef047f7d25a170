import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

AGENT = '''
from agentkit import Agent, tool


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city.

    Args:
        city: The city, such as "Paris".
    """
    print("the tool prints")
    return f"light rain in {city}"


@tool(approval=True)
def book_table(place: str, people: int = 2) -> str:
    """Book a table in a restaurant.

    Args:
        place: The restaurant.
        people: For how many.
    """
    return f"a table for {people} at {place}"


agent = Agent("m", tools=[get_weather, book_table])
'''


@pytest.fixture(autouse=True)
def nothing_imported(tmp_path: Path) -> Iterator[None]:
    """What a target imports is gone afterwards."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that has an agent, which is where commands are given."""
    (tmp_path / "weather.py").write_text(AGENT)
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "AGENTKIT_TRACEBACK", "AGENTKIT_SERVE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path
