"""Tools: the decorator leaves the function what it was, and says what cannot be a tool."""

import copy
import functools
import inspect
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from unittest.mock import Mock

import pytest

from agentkit.core.errors import ToolDefinitionError
from agentkit.core.json import decode
from agentkit.tools.context import ToolContext
from agentkit.tools.options import DEFAULTS, ToolOptions
from agentkit.tools.tool import Tool, tool, tool_name
from agentkit.tools.toolbox import Toolbox


@tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Args:
        a: The first.
    """
    return a + b


@tool(name="subtract", description="Take away.", timeout=2.5, sequential=True, errors="hide")
def take_away(a: int, b: int) -> int:
    """Not told."""
    return a - b


def plain(a: int) -> int:
    return a


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, by: int) -> int:
        self.count += by
        return self.count

    @tool
    def method(self, by: int) -> int:
        return self(by)

    def unmarked(self, by: int) -> int:
        return self(by)

    @tool
    @classmethod
    def of_class(cls, by: int) -> int:
        return by

    @tool
    @staticmethod
    def of_nobody(by: int) -> int:
        return by

    @tool(isolate="process")
    def apart(self, number: int) -> int:
        return number


class Slotted:
    __slots__ = ()

    def __call__(self, by: int) -> int:
        return by


def logged(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> object:
        return "logged", function(*args, **kwargs)

    return wrapper


def test_a_decorated_function_is_the_function() -> None:
    def multiply(a: int, b: int) -> int:
        """Multiply."""
        return a * b

    before = vars(multiply).copy(), multiply.__code__, multiply.__name__, multiply.__doc__, inspect.signature(multiply)
    assert tool(multiply) is tool(multiply) is multiply
    del multiply.__agentkit_tool__  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
    after = vars(multiply), multiply.__code__, multiply.__name__, multiply.__doc__, inspect.signature(multiply)
    assert after == before
    assert inspect.isfunction(multiply)
    assert multiply(3, b=4) == 12


def test_what_is_decorated_can_be_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(add)) is copy.deepcopy(add) is add  # noqa: S301 (made here)
    counter = tool(name="count", timeout=5)(Counter())
    assert Tool.of(counter).function is counter
    for other in (pickle.loads(pickle.dumps(counter)), copy.copy(counter), copy.deepcopy(counter)):  # noqa: S301 (made here)
        made = Tool.of(other)
        assert made.function is other
        assert (made.name, made.options.timeout, made.arguments.validate('{"by": 3}')) == ("count", 5, {"by": 3})
        assert other(1) == 1


def test_methods_stay_methods_and_share_their_tool() -> None:
    counter, other = Counter(), Counter()
    assert counter.method(2) == 2
    assert Counter.method(counter, 2) == 4
    assert Counter.of_class(3) == counter.of_class(3) == Counter.of_nobody(3) == counter.of_nobody(3) == 3
    assert inspect.ismethod(counter.method)
    assert inspect.isfunction(Counter.method)
    assert Tool.of(counter.method).arguments is Tool.of(other.method).arguments
    assert Tool.of(counter.method).function == counter.method
    assert Tool.of(other.method).function(by=3) == other.count == 3


def test_what_a_model_sees_and_the_options() -> None:
    properties = {"a": {"type": "integer", "description": "The first."}, "b": {"type": "integer", "default": 2}}
    parameters = {"type": "object", "properties": properties, "required": ["a"], "additionalProperties": False}
    function = {"name": "add", "description": "Add two numbers.", "parameters": parameters}
    assert decode(Tool.of(add).spec.encoded) == {"type": "function", "function": function}
    options = ToolOptions(name="subtract", description="Take away.", timeout=2.5, sequential=True, errors="hide")
    assert Tool.of(take_away).options == options
    assert Tool.of(add).options == DEFAULTS
    assert Tool.of(add) is Tool.of(add) is Tool.of(Tool.of(add))


RAW = Tool.from_schema(plain, name="raw", description="Raw.", parameters={"type": "object", "properties": {"a": {}}})


@pytest.mark.parametrize(("function", "changes", "name", "description"), [
    (add, {}, "add", "Add two numbers."),
    (add, {"description": ""}, "add", ""),
    (take_away, {}, "subtract", "Take away."),
    (take_away, {"name": "minus"}, "minus", "Take away."),
    (Tool.of(take_away), {"description": "Less."}, "subtract", "Less."),
    (plain, {"name": "a", "description": "B."}, "a", "B."),
    (plain, {"name": "A-b_9" + "x" * 59}, "A-b_9" + "x" * 59, ""),
    (RAW, {}, "raw", "Raw."),
    (RAW, {"name": "other"}, "other", "Raw."),
    (tool(name="one", timeout=1)(functools.partial(add, b=1)), {}, "one", "Add two numbers."),
])  # fmt: skip
def test_names_descriptions_and_options(function: Any, changes: dict[str, Any], name: str, description: str) -> None:
    before = Tool.of(function).options
    made = Tool.of(function, **changes)
    assert (made.name, made.spec.description) == (name, description)
    assert cast("Any", decode(made.spec.encoded))["function"]["name"] == name
    assert made.options == replace(before, **changes)
    assert Tool.of(function).options == before, "it is what it was"


def test_a_wrapper_round_a_tool_is_what_runs() -> None:
    class Logged:
        @logged
        @tool(name="inner")
        def inside(self, a: int) -> int:
            return a

        @tool(name="outer")
        @logged
        def outside(self, a: int) -> int:
            return a

    wrapped, again = logged(take_away), tool(name="again")(logged(take_away))
    for function, name in ((wrapped, "subtract"), (again, "again")):
        made = Tool.of(function)
        assert (made.function, made.name, made.function(a=3, b=1)) == (function, name, ("logged", 2))
    for method, name in ((Logged().inside, "inner"), (Logged().outside, "outer")):
        made = Tool.of(method)
        args, kwargs = made.arguments.bind(made.arguments.validate('{"a": 1}'))
        assert (made.function(*args, **kwargs), made.name) == (("logged", 1), name)


def test_a_partial_of_a_marked_partial() -> None:
    made = Tool.of(tool(name="add_one")(functools.partial(add, b=1)))
    assert made.function(a=2) == 3
    again = Tool.of(functools.partial(made.function, a=5))
    assert (again.name, again.arguments.schema["properties"]) == ("add", {})


def test_a_callable_that_answers_to_every_name() -> None:
    mock = Mock(spec=["__call__", "__agentkit_tool__"], name="mock")
    mock.__signature__ = inspect.signature(plain)
    assert Tool.of(mock, name="mock").arguments.schema["required"] == ["a"]


def test_the_name_of_a_tool() -> None:
    tools = {"add": add, "subtract": take_away, "minus": Tool.of(take_away, name="minus"), "method": Counter().method}
    assert {tool_name(function): function for function in tools.values()} == tools
    assert [tool_name(other) for other in (plain, "add", 5)] == [None, None, None]


@pytest.mark.parametrize("name", ["", "two words", "é", "a.b", "a\n", "x" * 65, "<lambda>"])
def test_bad_names(name: str) -> None:
    makers: list[Callable[[], object]] = [
        lambda: Tool.of(plain, name=name),
        lambda: tool(name=name)(plain),
        lambda: Tool.from_schema(plain, name=name, description="", parameters={"type": "object"}),
        lambda: Tool.of(Tool.of(plain), name=name),
    ]
    for make in makers:
        with pytest.raises(ToolDefinitionError) as caught:
            make()
        assert repr(name) in str(caught.value)
    with pytest.raises(ToolDefinitionError, match="5 is not callable"):
        Tool.from_schema(cast("Any", 5), name="five", description="", parameters={"type": "object"})
    with pytest.raises(ToolDefinitionError, match="<lambda>"):
        Tool.of(lambda x: x)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


@pytest.mark.parametrize("make", [Tool.of, tool, tool(timeout=1)])
@pytest.mark.parametrize("function", [Counter, int, "add", 5, property(plain)])
def test_what_cannot_be_a_tool(make: Callable[[Any], object], function: Any) -> None:
    with pytest.raises(ToolDefinitionError, match=r"is a class|is not callable|@tool\(name="):
        make(function)


@pytest.mark.parametrize("changes", [{}, {"name": "other"}], ids=str)
@pytest.mark.parametrize("name", ["method", "unmarked"])
def test_a_method_without_its_object(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ToolDefinitionError, match=rf"Counter\.{name} is a method"):
        Tool.of(getattr(Counter, name), **changes)
    with pytest.raises(ToolDefinitionError):
        Toolbox([getattr(Counter, name)])


def test_a_tool_twice_with_other_options() -> None:
    for make in (tool(strict=True), tool(name="again")):
        with pytest.raises(ToolDefinitionError, match="add is a tool already"):
            make(add)
    with pytest.raises(ToolDefinitionError, match="is a tool already"):
        tool(cast("Any", Tool.of(add)))


@pytest.mark.parametrize("function", [len, Counter().unmarked, Slotted()], ids=lambda function: type(function).__name__)
def test_what_cannot_be_marked(function: Callable[..., object]) -> None:
    with pytest.raises(ToolDefinitionError, match=r"Tool\.of"):
        tool(function)
    assert Tool.of(function, name="it").name == "it"


@pytest.mark.parametrize("option", ["repeat_key", "key"])
def test_a_key_must_be_a_parameter(option: str) -> None:
    def pay(order_id: int) -> str:
        return str(order_id)

    def options(key: object) -> Any:
        return {"effect": "once", option: key}

    for key in ("oder_id", ("order_id", "oder_id")):
        with pytest.raises(ToolDefinitionError, match=f" {option} names 'oder_id'"):
            tool(**options(key))(pay)
    assert tool(**options(("order_id",)))(pay) is pay
    assert getattr(Tool.of(pay, name="other").options, option) == ("order_id",)


def in_a_process(number: int) -> int:
    return number


def asks(number: int, ctx: ToolContext[None]) -> None: ...


async def waits(number: int) -> None: ...


def test_a_tool_that_runs_in_a_process() -> None:
    made = Tool.of(tool(isolate="process", timeout=5)(in_a_process))
    # A method of an object at the top of a module is found there too.
    for function in (made, in_a_process, functools.partial(in_a_process, 1), Counter().apart):
        assert Tool.of(function).flavour == "process"
    assert Tool.of(made, name="other").flavour == "process"
    for other in (asks, waits, lambda number: number):  # pyright: ignore[reportUnknownVariableType, reportUnknownLambdaType]
        with pytest.raises(ToolDefinitionError, match="process"):
            tool(isolate="process", name="it")(cast("Any", other))
