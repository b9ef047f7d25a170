from typing import Any

import pytest

from agentkit import Agent, ToolDefinitionError, tool
from agentkit.tools.options import DEFAULTS, ToolOptions
from tests.scripted import Scripted, said


def test_the_defaults() -> None:
    assert ToolOptions() == DEFAULTS
    assert (DEFAULTS.timeout, DEFAULTS.isolate, DEFAULTS.max_result, DEFAULTS.sequential) == (None, None, None, False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds above 0, not 0"),
        ({"timeout": -1.5}, "timeout must be a number of seconds above 0, not -1.5"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds above 0, not nan"),
        ({"isolate": "thread"}, "isolate must be \"process\" or None, not 'thread'"),
        ({"max_result": 0}, "max_result must be a number of characters above 0, not 0"),
        ({"max_result": -5}, "max_result must be a number of characters above 0, not -5"),
        ({"effect": "twice"}, "effect must be \"once\" or None, not 'twice'"),
        ({"effect": "once", "on_interrupted": "stop"}, 'on_interrupted must be "ask", "done" or "again", not \'stop\''),
        ({"key": "a"}, 'key and on_interrupted belong to a tool with effect="once"'),
        ({"on_interrupted": "done"}, 'key and on_interrupted belong to a tool with effect="once"'),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ToolDefinitionError) as caught:
        ToolOptions(**options)
    assert str(caught.value) == text
    with pytest.raises(ToolDefinitionError):
        tool(**options)


def test_the_decorator_takes_each_of_them() -> None:
    @tool(timeout=2.5, max_result=100, sequential=True, repeatable=True, strict=True)
    def search(query: str) -> str:
        return query

    (made,) = Agent(Scripted(said("x")), tools=[search]).tools
    assert made.options == ToolOptions(timeout=2.5, max_result=100, sequential=True, repeatable=True, strict=True)


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        ({}, False),
        ({"timeout": 1, "sequential": True}, False),
        ({"effect": "once"}, True),
        ({"effect": "once", "key": ("a", "b"), "on_interrupted": "again"}, True),
        ({"approval": True}, True),
        ({"approval": dict[str, object].__len__}, True),
    ],
)
def test_what_is_written_down_before_it_runs(options: dict[str, Any], recorded: bool) -> None:
    assert ToolOptions(**options).recorded == recorded


def test_the_decorator_takes_those_of_calls_that_must_happen_once() -> None:
    @tool(effect="once", key="order", on_interrupted="done", ends=True)
    def pay(order: str) -> str:
        return order

    (made,) = Agent(Scripted(said("x")), tools=[pay]).tools
    assert made.options == ToolOptions(effect="once", key="order", on_interrupted="done", ends=True)
