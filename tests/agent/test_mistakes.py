"""Each mistake is an error of agentkit's own that names what to write; `docs/mistakes.md` has the table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentkit import Agent, AgentkitError, ChatClient, JsonLines, Sqlite, Toolbox, tool
from agentkit.agent.mistakes import OWN
from agentkit.runs.options import RunOptions
from tests.scripted import Scripted, said

MODEL = Scripted(said("Hello."))
AGENT: Any = Agent(MODEL)
ANY_AGENT: Any = Agent
ANY_TOOL: Any = tool
ANY_TOOLBOX: Any = Toolbox
CLIENT: Any = ChatClient
SCHEMA = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}

OPTIONS = {
    "system_prompt": "instructions=", "system": "instructions=", "prompt": "instructions=", "role": "instructions=",
    "temperature": "Settings(temperature=", "max_tokens": "Settings(max_tokens=", "top_p": "Settings(top_p=",
    "seed": "Settings(seed=", "top_k": '"top_k"', "model_settings": "Settings(",
    "max_turns": "Limits(steps=", "max_iterations": "Limits(steps=", "recursion_limit": "Limits(steps=",
    "usage_limits": "Limits(", "retries": "max_corrections=", "output_type": "output=", "result_type": "output=",
    "response_format": "output=", "response_model": "output=", "base_url": "ChatClient(model, base_url=",
    "api_key": "ChatClient(model, api_key=", "timeout": "ChatClient(model, timeout=", "functions": "tools=",
    "handoffs": "handoff(", "agents": "as_tool(", "memory": "session=", "checkpointer": "session=",
    "callbacks": "observers=", "verbose": "observers=", "guardrails": "output_validators=", "deps": "run(…, deps=",
    "approver": "run(…, approver=", "llm": "model", "policy": "tool_choice=", "tool_use_behavior": "stop_at=",
    "nonsense": "help(Agent)",
}  # fmt: skip
RUN_OPTIONS = {
    "message_history": "run(messages)", "messages": "run(messages)", "input": "first argument",
    "context": "deps=", "max_turns": "Limits(steps=", "temperature": "Settings(temperature=", "timeout": "seconds",
    "stream": "agent.stream(", "thread_id": "session=", "output_type": "output=", "tools": "Agent(…, tools=",
    "nonsense": "tool_choice",
}  # fmt: skip
ATTRIBUTES = {
    "tool": "tools=", "system_prompt": "instructions=", "invoke": "agent.run(", "run_stream": "agent.stream(",
    "batch": "agent.map(", "output_validator": "output_validators=", "nonsense": "nonsense",
}  # fmt: skip
OF_RESULTS = {
    "text": "output", "data": "output", "final_output": "output", "content": "output", "all_messages": "messages",
    "tool_calls": "pending", "cost": "usage.cost", "nonsense": "nonsense",
}  # fmt: skip
CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "a number of limits": (lambda: ANY_AGENT(MODEL, limits=5), "Limits(steps=5)"),
    "limits of another kind": (lambda: ANY_AGENT(MODEL, limits={"steps": 5}), "Limits(steps="),
    "limits of a run": (lambda: AGENT.run_sync("Hi", limits=5), "Limits(steps=5)"),
    "settings that are none": (lambda: ANY_AGENT(MODEL, settings=0.5), "Settings(temperature="),
    "a file of many conversations": (lambda: AGENT.run_sync("Hi", session="chats.db"), "conversation(name)"),
    "a store": (lambda: AGENT.run_sync("Hi", session=Sqlite("chats.db")), "conversation(name)"),
    "a session that is none": (lambda: AGENT.run_sync("Hi", session=5), "JsonLines"),
    "a client of another library": (lambda: ANY_AGENT(httpx.Client), "object of it"),
    "an open client": (lambda: ANY_AGENT(httpx.AsyncClient()), "ChatClient(model, base_url="),
    "no model": (lambda: ANY_AGENT(None), "ChatClient"),
    "a provider with a typing error": (lambda: Agent("opnai:gpt-4o"), "'openai:gpt-4o'"),
    "an unknown provider": (lambda: CLIENT("m", provider="nobody"), "openai"),
    "a schema as a tool": (lambda: ANY_AGENT(MODEL, tools=[SCHEMA]), "Tool.from_schema("),
    "a name as a tool's decorator": (lambda: ANY_TOOL("look"), "@tool(name='look')"),
    "a name as an output": (lambda: ANY_AGENT(MODEL, output="json"), "type"),
    "a key with its scheme": (lambda: CLIENT("m", base_url="http://h/v1", api_key="Bearer sk-1"), "Bearer"),
    "a stream without its block": (lambda: aiter(AGENT.stream("Hi")), "async with"),
    "a stream in a sync block": (lambda: AGENT.stream("Hi").__enter__(), "async with"),
    "a stream left in a sync block": (lambda: AGENT.stream("Hi").__exit__(None, None, None), "async with"),
    "a stream that is awaited": (lambda: AGENT.stream("Hi").__await__(), "async with"),
}


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTKIT_BASE_URL", raising=False)


def test_options_of_an_agent() -> None:
    for name, instead in OPTIONS.items():
        with pytest.raises(AgentkitError, match="no option") as raised:
            ANY_AGENT(MODEL, **{name: 1})
        assert instead in str(raised.value)


def test_options_of_a_run() -> None:
    for name, instead in RUN_OPTIONS.items():
        doors: list[Any] = [AGENT.run_sync, AGENT.stream, AGENT.dry_run]
        for door in doors:
            with pytest.raises(AgentkitError, match="no option") as raised:
                door("Hi", **{name: 1})
            assert instead in str(raised.value)


def test_attributes() -> None:
    result: Any = AGENT.run_sync("Hi")
    for owner, names in ((AGENT, ATTRIBUTES), (result, OF_RESULTS)):
        for name, instead in names.items():
            with pytest.raises(AttributeError, match="has no") as raised:
                getattr(owner, name)
            assert instead in str(raised.value)


def test_values() -> None:
    for name, (call, instead) in CALLS.items():
        with pytest.raises(AgentkitError) as raised:
            call()
        assert instead in str(raised.value), name


def test_a_path_of_json_lines_is_a_session(tmp_path: Path) -> None:
    for path in (tmp_path / "a.jsonl", str(tmp_path / "b.jsonl")):
        AGENT.run_sync("Hi", session=path)
        assert AGENT.run_sync("And?", session=JsonLines(path)).start > 1


def test_the_options_of_a_run_are_those_that_are_typed() -> None:
    assert set(RunOptions.__annotations__) == OWN


def test_the_table_in_the_docs_has_each_mistake() -> None:
    page = (Path(__file__).parents[2] / "docs/mistakes.md").read_text()
    names = [*OPTIONS, *RUN_OPTIONS, *ATTRIBUTES, *OF_RESULTS]
    assert len(names) + len(CALLS) > 40
    assert [name for name in names if name != "nonsense" and name not in page] == []
