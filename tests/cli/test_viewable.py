"""Stored runs as the viewer gets them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ConfigurationError,
    RequestRefused,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.cli import durable_runs
from agentkit.cli.run import result_to_dict
from agentkit.cli.session_argument import parse_session_argument
from agentkit.cli.viewable import Seen, Shown, load_shown
from agentkit.core.codec import write
from agentkit.core.dicts import dumps, stored
from agentkit.core.session import Ended, Started
from agentkit.durable import RunInfo
from agentkit.testing import Cassette
from agentkit.testing import Scripted as Plays
from tests.scripted import Scripted, called, said

HELLO = UserMessage("Hello")
CALLS = AssistantMessage(tool_calls=(ToolCall("c0", "look", '{"n": 1}'),))
FOUND, DONE = ToolMessage("c0", "found"), AssistantMessage("Done.")
pytestmark = pytest.mark.usefixtures("folder")


def look(n: int) -> str:
    return f"found {n}"


def shown(text: str, store: str | None = None, seen: Seen | None = None) -> Shown:
    return anyio.run(load_shown, text, store, seen)


def items(run: Shown) -> list[dict[str, Any]]:
    held: Any = run.run["items"]
    return [*held]


def keep(place: str, *entries: Any) -> None:
    anyio.run(parse_session_argument(place).session.append, entries)


def test_sessions_and_messages() -> None:
    keep("a.db:ann", HELLO, CALLS, Started("c0", "look", "{}", "k", "r"), FOUND, Ended("c0", "k", "r"), DONE)
    run = shown("a.db:ann")
    assert (run.run["title"], [item["kind"] for item in items(run)]) == ("ann", ["message", "step", "step"])
    assert items(run)[1]["calls"][0]["result"] == "found"
    Path("m.json").write_text(dumps([HELLO, DONE]))
    assert (shown("m.json").run["title"], len(items(shown("m.json")))) == ("m.json", 2)
    keep("a.jsonl", HELLO, CALLS, Started("c0", "look", "{}", "k", "r"))
    assert items(shown("a.jsonl"))[-1] == {"kind": "note", "text": "look() had started, and has no result"}
    keep("s.jsonl", Started("1", "f", "{}", "k"))
    with pytest.raises(ConfigurationError):
        shown("s.jsonl")
    assert [item["kind"] for item in items(shown("s.jsonl", seen=Seen()))] == ["note"]  # the messages may come


def test_messages_that_come_while_one_looks_have_times() -> None:
    seen = Seen()
    keep("a.jsonl", HELLO)
    assert "began" not in items(shown("a.jsonl", seen=seen))[0]
    keep("a.jsonl", CALLS)
    keep("a.jsonl", FOUND)
    before = items(shown("a.jsonl", seen=seen))[1]
    assert before["began"] == 0.0
    keep("a.jsonl", DONE)
    step, answer = items(shown("a.jsonl", seen=seen))[1:]
    assert step == before
    assert step["calls"][0]["began"] == step["seconds"]
    assert answer["began"] >= step["seconds"]


def test_output_of_run() -> None:
    agent = Agent(Scripted(called(("look", {"n": 1})), said("Done.")), tools=[look], name="looker")
    result = agent.run_sync("go")
    Path("r.json").write_text(json.dumps(result_to_dict(result)))
    run = shown("r.json")
    facts = {name: run.run[name] for name in ("agent", "model", "stop", "title")}
    assert facts == {"agent": "looker", "model": "scripted", "stop": "answer", "title": "r.json"}
    step = items(run)[1]
    assert (step["choice"], step["by"], step["calls"][0]["result"]) == ("auto", repr(agent.tool_choice), "found 1")
    assert step["seconds"] >= 0
    assert step["calls"][0]["seconds"] >= 0
    failed = {"messages": [stored(HELLO)], "error": {"text": "it broke"}, "usage": {"requests": 1}}
    Path("f.json").write_text(json.dumps(failed))
    assert shown("f.json").run["error"] == "it broke"


def test_output_of_run_of_an_earlier_version() -> None:
    steps = [{"choice": "auto", "policy": "auto", "violation": "it did not call", "usage": {"requests": 1}}]
    Path("r.json").write_text(json.dumps({"messages": [stored(HELLO), stored(DONE)], "start": 1, "steps": steps}))
    (_, step) = items(shown("r.json"))
    assert (step["by"], step["violation"]) == ("auto", "it did not call")


@pytest.mark.parametrize("data", [
    {"messages": [{"role": "user"}]}, {"messages": [], "start": "x"}, {"messages": [], "usage": {"requests": "x"}},
    {"messages": [], "calls": [{"id": "c0"}]},
])  # fmt: skip
def test_what_is_no_output_of_run(data: Any) -> None:
    Path("r.json").write_text(json.dumps(data))
    with pytest.raises(ConfigurationError, match="is not output of"):
        shown("r.json")


def test_cassettes() -> None:
    broken = RequestRefused("no", status=400)
    plays = Plays(said("Hi"), broken, called(("look", {"n": 1})), said("Done."), broken)
    first = Agent(Cassette(plays, "c.jsonl", record="new")).run_sync("Hello")
    other = Agent(Cassette(plays, "c.jsonl", record="new"), tools=[look])
    with pytest.raises(RequestRefused):
        other.run_sync([*first.messages, UserMessage("Look")])
    other.run_sync([*first.messages, UserMessage("Look")])
    with pytest.raises(RequestRefused):
        other.run_sync("Another")
    run = shown("c.jsonl")
    kinds = [item["kind"] for item in items(run)]
    assert kinds == ["message", "step", "message", "step", "step", "note", "message", "step"]
    assert items(run)[3]["retried"][0]["error"].startswith("RequestRefused: ")
    assert items(run)[3]["calls"][0]["result"] == "found 1"
    assert items(run)[3]["choice"] == "auto"
    assert items(run)[-1]["error"].startswith("RequestRefused: ")
    assert run.run["model"] == plays.name


def test_journals_of_batches() -> None:
    lines: list[dict[str, Any]] = [
        {"batch": 1, "agent": {}},
        {"key": "a", "started": True},
        {"key": "a", "output": "Rome", "stop": "answer", "usage": {"requests": 2, "prompt_tokens": 5}},
        {"key": "b", "error": {"kind": "RateLimited", "text": "slow"}, "usage": {"requests": 1}},
        {"key": "b", "output": {"city": "Paris"}, "stop": "answer"},
        {"key": "c", "started": True},
        {"key": "d", "error": {"kind": "ModelTimeout", "text": "late"}},
    ]
    Path("b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = shown("b.jsonl")
    assert run.run["usage"] == {"requests": 3, "prompt_tokens": 5}
    a, b, c, d = items(run)
    assert (a["output"], a["stop"], a["usage"]["requests"]) == ("Rome", "answer", 2)
    assert (b["output"], b["key"]) == ('{"city": "Paris"}', "b")
    assert "stop" not in c
    assert d["error"] == "ModelTimeout: late"


def records_of(*records: dict[str, Any]) -> Sequence[dict[str, Any]]:
    budget = {"budget": {"usage": {"requests": 1}}}
    return [{"entries": [], **budget, **record} for record in records]


def test_durable_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = {"usage": write(Usage(1, 10))}
    records: Any = records_of(
        {"choice": {"mode": "required"}, "by": "required", "reply": reply, "entries": [stored(CALLS)], "seconds": 1.5},
        {"entries": [{"started": write(Started("c0", "look", "{}"))}], "seconds": 1.6},
        {"entries": [stored(FOUND)], "seconds": 2.0, "ran": ["c0"]},
        {"choice": {}, "by": "auto", "entries": [stored(CALLS)], "seconds": 2.5},
        {"entries": [stored(FOUND)], "seconds": 2.7, "ran": ["c0"]},
        {"choice": {}, "by": "auto", "entries": [stored(DONE)], "seconds": 3.0},
    )
    info = RunInfo("t", "clerk", "done", None, None, 1, None)  # type: ignore[arg-type]

    async def read_run(run_id: str, store: str) -> Any:
        assert (run_id, store) == ("t", "runs.db")
        return info, (HELLO,), records

    monkeypatch.setattr(durable_runs, "read_run", read_run)
    run = shown("t", "runs.db")
    assert (run.run["agent"], run.run["stop"], run.run["seconds"], run.start) == ("clerk", "done", 3.0, 1)
    _, step, second, answer = items(run)
    assert (second["calls"][0]["began"], second["calls"][0]["seconds"]) == (2.5, 0.2)
    assert (step["choice"], step["by"], step["began"], step["seconds"]) == ("required", "required", 0.0, 1.5)
    assert step["usage"] == {"requests": 1, "prompt_tokens": 10}
    assert (step["calls"][0]["began"], step["calls"][0]["seconds"]) == (1.6, 0.4)
    assert (answer["text"], answer["began"]) == ("Done.", 2.7)
    records = ()
    assert shown("t", "runs.db").run["items"] == [items(run)[0]]
    keep("t", HELLO)  # a file of that name is meant, whatever the environment says of a store
    assert len(items(shown("t", "runs.db"))) == 1
