import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import Agent, AssistantMessage, ChatClient, RequestRefused, ToolCall, ToolMessage, UserMessage
from agentkit.cli.session_argument import parse_session_argument
from agentkit.core.dicts import dumps
from agentkit.core.session import Started
from agentkit.testing import Cassette, answer, chaos, status
from tests.cli.commands import Weather, give

CALL = ToolCall("1", "f", "{}")
HELLO, HI = UserMessage("Hello"), AssistantMessage("Hi")


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with chaos(Weather()) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        yield


def keep(place: str, *entries: Any) -> None:
    anyio.run(parse_session_argument(place).session.append, entries)


def test_output_of_run_has_usage() -> None:
    Path("a.json").write_text(give("run", "weather.py", "--json", "rain?").stdout)
    assert give("replay", "a.json").stdout == (
        'you     rain?\n1.      → get_weather(city="Paris")\n        15 tokens\n'
        "        ← get_weather: light rain in Paris\n2.      I heard: light rain in Paris\n        15 tokens\n"
        "result; ended with answer; 2 requests, 30 tokens\n"
    )
    data = json.loads(give("replay", "a.json", "--json").stdout)
    assert (data["kind"], data["end"], data["usage"]["prompt_tokens"]) == ("result", "ended with answer", 20)
    assert (len(data["story"]), data["story"][1]["usage"]["completion_tokens"]) == (4, 5)
    Path("a.json").write_text(give("run", "weather.py", "--json", "fail").stdout)
    assert "result; failed: " in give("replay", "a.json").stdout


def test_rejected_replies_are_marked() -> None:
    steps = [{"violation": "it did not call", "usage": {"requests": 1}}]
    data = {"messages": json.loads(dumps([HELLO, HI, HI])), "start": 1, "stop": "answer", "steps": steps}
    Path("a.json").write_text(json.dumps(data))
    assert give("replay", "a.json").stdout == (
        "you     Hello\n1.      Hi\n        usage unknown\n        rejected: it did not call; asked again\n"
        "2.      Hi\nresult; ended with answer; 0 requests\n"
    )


def test_sessions() -> None:
    reply = AssistantMessage(None, (CALL,))
    story = "you     Hello\n1.      → f()\n        no result yet: f()\n        f() had started\n"
    for place, shown, entries in (
        ("a.db:ann", f"{story}session ann\n", (HELLO, reply, Started("1", "f", "{}"))),
        ("a.jsonl", f"{story}session\n", (HELLO, reply, Started("1", "f", "{}"))),
        ("b.jsonl", "you     Hello\nsession\n", (HELLO,)),
    ):
        keep(place, *entries)
        assert give("replay", place.partition(":")[0]).stdout == shown
    keep("a.db:bob", HELLO)
    assert give("replay", "a.db:bob").stdout == "you     Hello\nsession bob\n"
    several = give("replay", "a.db")
    assert (several.exit_code, "bob, ann" in several.stderr) == (2, True)
    for name in ("ann", "bob"):
        anyio.run(parse_session_argument(f"a.db:{name}").clear)
    assert "none" in give("replay", "a.db").stderr


def test_a_store_without_a_message_has_no_conversation() -> None:
    keep("s.jsonl", Started("1", "f", "{}", "k"))
    done = give("replay", "s.jsonl")
    assert (done.exit_code, done.stdout) == (2, "")


def test_messages() -> None:
    Path("a.json").write_text(dumps([HELLO, HI]))
    assert give("replay", "a.json").stdout == "you     Hello\n1.      Hi\nmessages\n"


def test_cassettes() -> None:
    with chaos(answer("Hi"), answer("Fine"), status(400)) as served:
        agent = Agent(Cassette(ChatClient("m", base_url=served.url), "a.jsonl", record="new"))
        first = agent.run_sync("Hello")
        agent.run_sync([*first.messages, UserMessage("How are you?")])
        for prompt in ("Who?", "Where?"):
            with pytest.raises(RequestRefused):
                agent.run_sync(prompt)
    shown = give("replay", "a.jsonl").stdout
    assert shown.startswith(
        "you     Hello\n1.      Hi\n        15 tokens\nyou     How are you?\n2.      Fine\n        15 tokens\n"
        "        another conversation:\nyou     Who?\n        RequestRefused: "
    )
    assert shown.endswith("\ncassette of m; 4 recordings; 2 requests, 30 tokens\n")


@pytest.mark.parametrize(("name", "content", "text"), [
    ("no.json", None, "no.json cannot be read: No such file"),
    ("a.json", "no JSON", "a.json cannot be replayed; give a session"),
    ("a.json:ann", "[]", "a.json holds one conversation, without a name: agentkit replay a.json"),
    ("a.json", "{}", "line 1 of a.json cannot be read"), ("a.json", "[1]", "messages[0]"),
    ("a.json", '{"messages": [{"role": "user"}]}', "a.json is not output of `agentkit run --json`: "),
    ("a.json", '{"messages": [], "start": "x"}', "a.json is not output of `agentkit run --json`: "),
    ("a.json", '{"messages": [], "usage": {"odd": 1}}', "a.json is not output of `agentkit run --json`: "),
    ("a.json", '{"role": "user", "content": "Hello"}\n{"role": "odd"}', "line 2 of a.json cannot be read"),
    ("a.json", '{"cassette": 9}\n', "no cassette of version"),
    ("b.jsonl", '{"batch": 1}\n', "agentkit view b.jsonl"),
])  # fmt: skip
def test_files_that_cannot_be_replayed(name: str, content: str | None, text: str) -> None:
    if content is not None:
        Path(name.partition(":")[0]).write_text(content)
    done = give("replay", name)
    assert done.exit_code in (1, 2)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert text in done.stderr


def test_long_results_are_cut_unless_whole() -> None:
    keep("a.db", UserMessage("x"), AssistantMessage(None, (CALL,)))
    keep("a.db", ToolMessage("1", "y" * 700))
    assert "(700 characters)" in give("replay", "a.db").stdout
    assert "y" * 700 in give("replay", "a.db", "--whole").stdout
