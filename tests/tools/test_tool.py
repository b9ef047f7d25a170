"""Tools: the decorator leaves the function what it was, and says what cannot be a tool."""

import copy
import functools
import inspect
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Annotated, Any, cast
from unittest.mock import Mock

import pytest
from pydantic import Field

from agentkit.core.errors import ConfigurationError, ToolDefinitionError
from agentkit.core.json import decode
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
    """Counts.

    Args:
        by: How many.
    """

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


class Slotted:
    __slots__ = ()

    def __call__(self, by: int) -> int:
        return by


def logged(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> object:
        return "logged", function(*args, **kwargs)

    return wrapper


# --------------------------------------------------------------------------------------------------- what stays the same


def test_a_decorated_function_is_the_function() -> None:
    def multiply(a: int, b: int) -> int:
        """Multiply."""
        return a * b

    code = multiply.__code__
    assert tool(multiply) is multiply
    assert inspect.isfunction(multiply)
    assert multiply(3, b=4) == 12
    assert (multiply.__code__, multiply.__name__, multiply.__doc__) == (code, "multiply", "Multiply.")
    assert str(inspect.signature(multiply)) == "(a: int, b: int) -> int"


def test_a_decorated_function_can_be_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(add)) is add  # noqa: S301 (made here)
    assert copy.deepcopy(add) is add


def test_a_marked_callable_object_can_be_pickled_and_copied() -> None:
    counter = tool(name="count", timeout=5)(Counter())
    assert Tool.of(counter).function is counter
    for other in (pickle.loads(pickle.dumps(counter)), copy.copy(counter), copy.deepcopy(counter)):  # noqa: S301 (made here)
        made = Tool.of(other)
        assert made.function is other
        assert (made.name, made.options.timeout, made.arguments.validate('{"by": 3}')) == ("count", 5, {"by": 3})
        assert other(1) == 1


def test_methods_stay_methods() -> None:
    counter = Counter()
    assert counter.method(2) == 2
    assert Counter.method(counter, 2) == 4
    assert Counter.of_class(3) == counter.of_class(3) == 3
    assert Counter.of_nobody(3) == counter.of_nobody(3) == 3
    assert inspect.ismethod(counter.method)
    assert inspect.isfunction(Counter.method)


def test_a_tool_of_a_method_is_made_once_for_all_objects() -> None:
    one, other = Counter(), Counter()
    assert Tool.of(one.method).arguments is Tool.of(other.method).arguments
    assert Tool.of(one.method).function == one.method
    assert Tool.of(other.method).function(by=3) == other.count == 3


# ---------------------------------------------------------------------------------------------------------- what is told


def test_what_a_model_is_told() -> None:
    assert decode(Tool.of(add).spec.encoded) == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "description": "The first."},
                    "b": {"type": "integer", "default": 2},
                },
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    }


def test_options() -> None:
    made = Tool.of(take_away)
    assert made.options == ToolOptions(
        name="subtract", description="Take away.", timeout=2.5, sequential=True, errors="hide"
    )
    assert (made.name, made.spec.description) == ("subtract", "Take away.")
    assert Tool.of(add).options == DEFAULTS
    assert Tool.of(add) is Tool.of(add)


def test_an_empty_description_hides_the_docstring() -> None:
    assert Tool.of(add, description="").spec.description == ""


def test_tools_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Tool.of(add).options = DEFAULTS  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_above_nothing(timeout: float) -> None:
    with pytest.raises(ToolDefinitionError, match=rf"timeout must be a number of seconds above 0, not {timeout}"):
        tool(timeout=timeout)


# -------------------------------------------------------------------------------------------------------------- Tool.of


def test_another_name_and_description() -> None:
    made = Tool.of(take_away, name="minus")
    assert (made.name, made.spec.description, made.options.timeout) == ("minus", "Take away.", 2.5)
    made = Tool.of(Tool.of(take_away), description="Less.")
    assert (made.name, made.spec.description, made.options.description) == ("subtract", "Less.", "Less.")
    made = Tool.of(plain, name="other", description="Other.")
    assert (made.name, made.spec.description, made.options) == (
        "other",
        "Other.",
        ToolOptions(name="other", description="Other."),
    )
    assert Tool.of(take_away).name == "subtract", "the function's own tool is what it was"


def test_another_name_for_a_tool_from_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    made = Tool.from_schema(plain, name="raw", description="Raw.", parameters=schema)
    other = Tool.of(made, name="other")
    assert (other.name, other.spec.description, other.spec.parameters, other.arguments) == (
        "other",
        "Raw.",
        schema,
        made.arguments,
    )
    assert decode(other.spec.encoded) != decode(made.spec.encoded)
    assert Tool.of(made) is made


def test_a_wrapper_round_a_tool_is_what_runs() -> None:
    wrapped = logged(take_away)
    made = Tool.of(wrapped)
    assert made.function is wrapped
    assert made.function(a=3, b=1) == ("logged", 2)
    assert (made.name, made.options.timeout) == ("subtract", 2.5)
    again = tool(name="again")(logged(take_away))
    assert Tool.of(again).name == "again"
    assert Tool.of(again).function(a=3, b=1) == ("logged", 2)


def test_a_wrapper_round_a_method_is_what_runs() -> None:
    class Logged:
        @logged
        @tool(name="inner")
        def inside(self, a: int) -> int:
            return a

        @tool(name="outer")
        @logged
        def outside(self, a: int) -> int:
            return a

    for made in (Tool.of(Logged().inside), Tool.of(Logged().outside)):
        args, kwargs = made.arguments.bind(made.arguments.validate('{"a": 1}'))
        assert made.function(*args, **kwargs) == ("logged", 1)
        assert made.name in ("inner", "outer")


def test_a_marked_partial() -> None:
    made = Tool.of(tool(name="add_one", timeout=1)(functools.partial(add, b=1)))
    assert (made.name, made.options.timeout, made.function(a=2)) == ("add_one", 1, 3)
    again = Tool.of(functools.partial(made.function, a=5))
    assert (again.name, again.arguments.schema["properties"]) == ("add", {})


def test_a_callable_that_answers_to_every_name() -> None:
    mock = Mock(spec=["__call__", "__agentkit_tool__"], name="mock")
    mock.__signature__ = inspect.signature(plain)
    assert Tool.of(mock, name="mock").arguments.schema["required"] == ["a"]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (add, "add"),
        (take_away, "subtract"),
        (Tool.of(take_away, name="minus"), "minus"),
        (Counter().method, "method"),
        (plain, None),
        ("add", None),
        (5, None),
    ],
)
def test_the_name_of_a_tool(function: object, name: str | None) -> None:
    assert tool_name(function) == name


# --------------------------------------------------------------------------------------------------------------- errors

NAMES = "give one of 1 to 64 letters, digits, _ and -: tool\\(name=…\\) or Tool.of\\(it, name=…\\)"


@pytest.mark.parametrize("name", ["", "two words", "é", "a.b", "a\n", "x" * 65, "<lambda>"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ToolDefinitionError, match=rf"plain: {re.escape(repr(name))} cannot be a tool's name; {NAMES}"):
        Tool.of(plain, name=name)
    with pytest.raises(ToolDefinitionError, match="cannot be a tool's name"):
        tool(name=name)(plain)
    with pytest.raises(ToolDefinitionError, match="cannot be a tool's name"):
        Tool.from_schema(plain, name=name, description="", parameters={"type": "object"})
    with pytest.raises(ToolDefinitionError, match="cannot be a tool's name"):
        Tool.of(Tool.of(plain), name=name)


@pytest.mark.parametrize("name", ["a", "A-b_9", "x" * 64])
def test_good_names(name: str) -> None:
    assert Tool.of(plain, name=name).name == name


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(ToolDefinitionError, match=rf"<lambda>: '<lambda>' cannot be a tool's name; {NAMES}"):
        Tool.of(lambda x: x)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


@pytest.mark.parametrize("make", [Tool.of, tool, tool(timeout=1)])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Counter, "Counter is a class; give a function that returns one, or an object's method"),
        (int, "int is a class"),
        ("add", "'add' is not callable; a tool is a function"),
        (5, "5 is not callable"),
        (property(plain), "is not callable"),
    ],
)
def test_what_cannot_be_a_tool(make: Callable[[Any], object], function: object, message: str) -> None:
    with pytest.raises(ToolDefinitionError, match=message):
        make(function)


def test_what_cannot_be_called_with_a_schema() -> None:
    with pytest.raises(ToolDefinitionError, match="5 is not callable"):
        Tool.from_schema(5, name="five", description="", parameters={"type": "object"})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("given", [{}, {"name": "other"}], ids=str)
@pytest.mark.parametrize("name", ["method", "unmarked"])
def test_a_method_without_its_object(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(
        ToolDefinitionError, match=rf"Counter\.{name} is a method; give that of an object: `obj\.{name}`"
    ):
        Tool.of(getattr(Counter, name), **given)
    with pytest.raises(ToolDefinitionError, match="is a method"):
        Toolbox([getattr(Counter, name)])


def test_a_tool_twice_is_the_same_tool() -> None:
    assert tool(add) is add
    assert tool(add) is add


def test_a_tool_twice_with_other_options() -> None:
    for make in (tool(strict=True), tool(name="again")):
        with pytest.raises(
            ToolDefinitionError, match=r"add is a tool already; Tool\.of\(it, name=…\) makes another of it"
        ):
            make(add)
    with pytest.raises(ToolDefinitionError, match=r"is a tool already"):
        tool(cast("Any", Tool.of(add)))


@pytest.mark.parametrize("function", [len, Counter().unmarked, Slotted()], ids=lambda each: type(each).__name__)
def test_what_cannot_be_marked(function: Callable[..., object]) -> None:
    with pytest.raises(
        ToolDefinitionError, match=r"cannot be marked; hand Tool\.of\(it, name=…\) to the agent instead"
    ):
        tool(function)
    assert Tool.of(function, name="it").name == "it"


def test_every_error_is_one_of_configuration() -> None:
    assert issubclass(ToolDefinitionError, ConfigurationError)


def test_a_repeat_key_must_be_a_parameter() -> None:
    def status(order_id: int) -> str:
        return str(order_id)

    for key in ("oder_id", ("order_id", "oder_id")):
        with pytest.raises(ToolDefinitionError, match="repeat_key names 'oder_id'"):
            tool(repeat_key=key)(status)
    assert tool(repeat_key=("order_id",))(status) is status


def test_a_key_must_be_a_parameter() -> None:
    def pay(order_id: int) -> str:
        return str(order_id)

    for key in ("oder_id", ("order_id", "oder_id")):
        with pytest.raises(ToolDefinitionError, match="key names 'oder_id', which is not one of its parameters"):
            tool(effect="once", key=key)(pay)
    with pytest.raises(ToolDefinitionError, match='belong to a tool with effect="once"'):
        tool(key="order_id")(pay)
    assert tool(effect="once", key="order_id")(pay) is pay
    assert Tool.of(pay, name="other").options.key == "order_id"


def test_the_arguments_with_those_that_were_left_out() -> None:
    def pay(order: Annotated[int, Field(alias="order id")], currency: str = "EUR", *notes: str) -> None: ...

    arguments = Tool.of(pay).arguments
    assert arguments.names == {"order id": "order", "currency": "currency", "notes": "notes"}
    assert arguments.complete(arguments.validate('{"order id": 1}')) == {"order": 1, "currency": "EUR"}
    assert arguments.complete({"order": 1, "currency": "USD"}) == {"order": 1, "currency": "USD"}


def in_a_process(number: int) -> int:
    return number


class Apart:
    @tool(isolate="process")
    def method(self, number: int) -> int:
        return number


def test_a_tool_that_runs_in_a_process() -> None:
    made = Tool.of(tool(isolate="process", timeout=5, max_result=10)(in_a_process))
    assert made.flavour == "process"
    assert (made.options.isolate, made.options.timeout, made.options.max_result) == ("process", 5, 10)
    assert Tool.of(made, name="other").flavour == "process"
    # A method of an object at the top of a module is found there too.
    assert Tool.of(functools.partial(in_a_process, 1)).flavour == "process"
    assert Tool.of(Apart().method).flavour == "process"
    with pytest.raises(ToolDefinitionError, match="in_a_process is a tool already"):
        tool(isolate="process")(in_a_process)
