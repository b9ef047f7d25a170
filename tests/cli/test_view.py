import webbrowser
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from agentkit import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.cli import view as command
from agentkit.cli.session_argument import parse_session_argument
from agentkit.core.dicts import dumps
from tests.cli.commands import give
from tests.viewer import Json, data_in

CALL = ToolCall("c0", "get_weather", '{"city": "Paris"}')
STORY = (
    UserMessage("rain?"),
    AssistantMessage(tool_calls=(CALL,)),
    ToolMessage("c0", "rain"),
    AssistantMessage("Yes."),
)


@pytest.fixture(autouse=True)
def stories(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    anyio.run(parse_session_argument("shop.db:ann").session.append, STORY)
    (folder / "b.json").write_text(dumps(STORY[:1]))


def page(name: str) -> Json:
    return data_in(Path(name).read_text())


def test_a_run_is_written_to_a_page_named_after_it() -> None:
    done = give("view", "shop.db:ann")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "agentkit: wrote ann.html\n")
    assert (page("ann.html")["title"], len(page("ann.html")["runs"][0]["items"])) == ("shop.db:ann", 3)
    assert Path("ann.html").stat().st_mode & 0o777 == 0o600
    assert give("view", "b.json").stderr == "agentkit: wrote b.html\n"
    assert give("view", "shop.db:ann").exit_code == 0  # over its own page


def test_a_file_of_others_is_not_written_over() -> None:
    Path("b.html").write_text("my own")
    done = give("view", "b.json")
    assert (done.exit_code, Path("b.html").read_text()) == (2, "my own")
    assert "--out FILE" in done.stderr
    assert give("view", "b.json", "--out", "b.html").exit_code == 0
    assert give("view", "b.json", "-o", "no/b.html").stderr.startswith("agentkit: no/b.html cannot be written: ")


def test_two_runs_are_compared() -> None:
    assert give("view", "shop.db:ann", "b.json").stderr == "agentkit: wrote ann-b.html\n"
    data = page("ann-b.html")
    assert data["differences"] == [[0, 0, True], [1, None, False], [2, None, False]]
    assert [run["title"] for run in data["runs"]] == ["ann", "b.json"]


def test_the_policy_of_the_agent_is_drawn() -> None:
    assert give("view", "shop.db:ann", "--agent", "weather.py").exit_code == 0
    graph = page("ann.html")["graph"]
    assert graph["path"] == [0, 0]
    assert graph["nodes"][0]["label"] == "auto"


def test_the_page_is_opened(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    give("view", "b.json", "--open")
    assert opened == [(folder / "b.html").as_uri()]


class Stopped:
    """A server that is stopped at once."""

    def __init__(self, *, interrupted: bool) -> None:
        self.interrupted = interrupted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def serve_forever(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt


@pytest.mark.parametrize("opens", [True, False])
def test_a_run_is_followed(monkeypatch: pytest.MonkeyPatch, *, opens: bool) -> None:
    loaded: list[Any] = []
    opened: list[str] = []

    class Live:
        url = "http://127.0.0.1:7/secret/"

        def __init__(self, load: Any, title: str, files: Any) -> None:
            loaded.append((anyio.run(load), title, files))

        def server(self, port: int) -> Stopped:
            assert port == 7
            return Stopped(interrupted=opens)

    monkeypatch.setattr(command, "LivePage", Live)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    words = ["--agent", "weather.py", "--open"] if opens else ["--store", "runs.db"]
    done = give("view", "shop.db:ann", "--live", "--port", "7", *words)
    assert (done.exit_code, opened) == (130 if opens else 0, [Live.url] if opens else [])
    assert "following shop.db:ann at http://127.0.0.1:7/secret/" in done.stderr
    (runs, more), title, files = loaded[0]
    assert (len(runs[0]["items"]), "graph" in more, title) == (3, opens, "shop.db:ann")
    assert files == ([Path("shop.db")] if opens else [])
    assert give("view", "b.json", "b.json", "--live").exit_code == 2
