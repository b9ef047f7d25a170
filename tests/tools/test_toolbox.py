import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from agentkit import Tool, Toolbox, ToolDefinitionError, tool


@tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@tool(name="subtract")
def take_away(a: int, b: int) -> int:
    return a - b


def plain(a: int) -> int:
    return a


@dataclass(frozen=True)
class Counter:
    factor: int = 1

    @tool
    def method(self, by: int) -> int:
        return by * self.factor


def test_a_toolbox() -> None:
    box = Toolbox([add, Tool.of(plain), Toolbox([take_away, Counter().method])])
    assert [tool.name for tool in box] == ["add", "plain", "subtract", "method"]
    assert box.names == {"add", "plain", "subtract", "method"}
    assert [spec.name for spec in box.specs] == ["add", "plain", "subtract", "method"]
    assert len(box) == 4
    assert "add" in box
    assert "take_away" not in box
    assert box.get("subtract") is Tool.of(take_away)
    assert box.get("other") is None
    assert repr(box) == "Toolbox(add, plain, subtract, method)"
    assert not Toolbox().names


@pytest.mark.parametrize(("tools", "name", "functions"), [
    ([plain, Tool.of(add, name="plain")], "plain", "plain and add"),
    ([Toolbox([plain]), plain], "plain", "plain and plain"),
    ([Counter().method, Counter().method], "method", "Counter.method and Counter.method"),
    ([add, functools.partial(add, 1)], "add", "add and add"),
])  # fmt: skip
def test_two_tools_of_one_name(tools: list[Any], name: str, functions: str) -> None:
    with pytest.raises(ToolDefinitionError, match=f"{name!r}: {functions}"):
        Toolbox(tools)
    assert len(Toolbox([Toolbox([add]), Toolbox([take_away, add]), add])) == 2, "one tool may be given twice"


def test_methods_of_two_objects_under_two_names() -> None:
    box = Toolbox([Tool.of(Counter(1).method, name="one"), Tool.of(Counter(2).method, name="two")])
    assert [tool.function(by=5) for tool in box] == [5, 10]


def test_toolboxes_from_toolboxes() -> None:
    box = Toolbox([add, plain, take_away])
    assert box.only("subtract", "add").names == {"add", "subtract"}
    assert box.without("add").names == {"plain", "subtract"}
    assert (box.only("add") + Toolbox([plain])).names == {"add", "plain"}
    assert box.renamed({"add": "sum"}).names == {"sum", "plain", "subtract"}
    two = Toolbox([Counter(2).method]).prefixed("two_") + Toolbox([Counter(3).method]).prefixed("three_")
    assert {name: tool.function(by=5) for name in two.names if (tool := two.get(name))} == {
        "two_method": 10,
        "three_method": 15,
    }
    refused: list[Callable[[], Toolbox]] = [
        lambda: box.only("nobody"),
        lambda: box.without("nobody"),
        lambda: box.renamed({"nobody": "x"}),
        lambda: box.renamed({"add": "plain"}),
        lambda: box.prefixed("no blanks "),
    ]
    for make in refused:
        with pytest.raises(ToolDefinitionError):
            make()
