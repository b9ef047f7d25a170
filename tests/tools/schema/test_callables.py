"""Callables of every kind: their names, docstrings and flavours, and that they are called right."""

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest

from agentkit.tools.tool import Tool, tool
from tests.tools.schema.test_signature import Point, called, obj
from tests.tools.schema.values import INT, Schema, define_in, named


def logged(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> object:
        return function(*args, **kwargs)

    return wrapper


class Machine:
    """A machine.

    Args:
        speed: How fast.
    """

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, speed: int) -> object:
        return self.factor * speed

    def method(self, speed: int) -> object:
        """Run.

        Args:
            speed: How fast.
        """
        return self.factor * speed

    @tool
    def marked(self, speed: int) -> object:
        return self.factor * speed

    @classmethod
    def made(cls, speed: int) -> object:
        return cls(1).factor * speed

    @tool
    @classmethod
    def marked_outside(cls, speed: int) -> object:
        return cls(1).factor * speed

    @classmethod
    @tool
    def marked_inside(cls, speed: int) -> object:
        return cls(1).factor * speed

    @staticmethod
    def static(speed: int) -> object:
        return speed

    @tool
    @staticmethod
    def static_marked_outside(speed: int) -> object:
        return speed

    @staticmethod
    @tool
    def static_marked_inside(speed: int) -> object:
        return speed

    @tool
    @logged
    def logged_and_marked(self, speed: int) -> object:
        return speed

    @logged
    @tool
    def marked_and_logged(self, speed: int) -> object:
        return speed

    @tool
    def named_otherwise(this, speed: int) -> object:  # noqa: N805 (the point) # pyright: ignore[reportSelfClsParameterName]
        return speed

    @tool
    @functools.lru_cache  # noqa: B019 (the point is that it is wrapped)
    def cached(self, speed: int) -> object:
        return self.factor * speed


class AsyncMachine:
    async def __call__(self, speed: int) -> object:
        return speed


class MarkedMachine:
    """A marked machine."""

    @tool(timeout=3)
    def __call__(self, speed: int) -> object:
        return speed


def two(factor: int, speed: int) -> object:
    """Multiply.

    Args:
        factor: By what.
        speed: How fast.
    """
    return factor * speed


@tool(name="times")
def marked_two(factor: int, speed: int) -> object:
    return factor * speed


waits = define_in({}, "async def waits(speed: int): return speed")
yields = define_in({}, "def yields(speed: int): yield speed")
yields_and_waits = define_in({}, "async def yields_and_waits(speed: int): yield speed")
SPEED = obj("speed", speed=INT)
TOLD = obj("speed", speed=INT | {"description": "How fast."})
BOTH = obj("factor speed", factor=INT | {"description": "By what."}, **TOLD["properties"])

# fmt: off
CALLABLES: list[tuple[str, Callable[..., object], str, Schema, str, str]] = [
    # label, callable, name, schema, flavour, description
    ("bound method", Machine(2).method, "method", TOLD, "sync", "Run."),
    ("marked method", Machine(2).marked, "marked", SPEED, "sync", ""),
    ("class method", Machine.made, "made", SPEED, "sync", ""),
    ("class method, marked outside", Machine.marked_outside, "marked_outside", SPEED, "sync", ""),
    ("class method, marked inside", Machine.marked_inside, "marked_inside", SPEED, "sync", ""),
    ("static method", Machine.static, "static", SPEED, "sync", ""),
    ("static method, marked outside", Machine.static_marked_outside, "static_marked_outside", SPEED, "sync", ""),
    ("static method, marked inside", Machine(2).static_marked_inside, "static_marked_inside", SPEED, "sync", ""),
    ("cached method", Machine(2).cached, "cached", SPEED, "sync", ""),
    ("wrapped method, marked outside", Machine(2).logged_and_marked, "logged_and_marked", SPEED, "sync", ""),
    ("wrapped method, marked inside", Machine(2).marked_and_logged, "marked_and_logged", SPEED, "sync", ""),
    ("method without a self", Machine(2).named_otherwise, "named_otherwise", SPEED, "sync", ""),
    ("callable object", Machine(2), "Machine", TOLD, "sync", "A machine."),
    ("its call", Machine(2).__call__, "Machine", TOLD, "sync", "A machine."),
    ("async callable object", AsyncMachine(), "AsyncMachine", SPEED, "async", ""),
    ("marked callable object", MarkedMachine(), "MarkedMachine", SPEED, "sync", "A marked machine."),
    ("async function", waits, "waits", SPEED, "async", ""),
    ("generator", yields, "yields", SPEED, "generator", ""),
    ("async generator", yields_and_waits, "yields_and_waits", SPEED, "async generator", ""),
    ("partial by position", functools.partial(two, 2), "two", TOLD, "sync", "Multiply."),
    ("partial by keyword", functools.partial(two, factor=2), "two", TOLD, "sync", "Multiply."),
    ("partial of a partial", functools.partial(functools.partial(two, 2)), "two", TOLD, "sync", "Multiply."),
    ("partial of a marked tool", functools.partial(marked_two, 2), "times", SPEED, "sync", ""),
    ("partial of an async function", functools.partial(waits), "waits", SPEED, "async", ""),
    ("partial of a callable object", functools.partial(Machine(2)), "Machine", TOLD, "sync", "A machine."),
    ("partial of a method", functools.partial(Machine(2).method), "method", TOLD, "sync", "Run."),
    ("partial of a class", functools.partial(Point, 1), "Point", obj("", y=INT | {"default": 0}), "sync", "Point(x: int, y: int = 0)"),
    ("wrapped function", logged(two), "two", BOTH, "sync", "Multiply."),
    ("cached function", functools.lru_cache(two), "two", BOTH, "sync", "Multiply."),
    ("builtin", math.sqrt, "sqrt", obj("x", x={}), "sync", "Return the square root of x."),
    ("builtin of an object", "a".upper, "upper", obj(), "sync", "Return a copy of the string converted to uppercase."),
]
# fmt: on


@pytest.mark.parametrize(("function", "name", "schema", "flavour", "description"), named(CALLABLES))
def test_callables(function: Callable[..., object], name: str, schema: Schema, flavour: str, description: str) -> None:
    made = Tool.of(function)
    assert (made.name, made.arguments.schema, made.flavour) == (name, schema, flavour)
    assert made.spec.description == description
    assert made.function == function
    assert not made.unbound
    if flavour == "sync" and schema in (SPEED, TOLD):
        assert called(made, '{"speed": 4}') in (4, 8)


def test_a_lambda_with_a_name() -> None:
    double: Callable[[int], int] = lambda x: 2 * x  # noqa: E731 (the point)
    made = Tool.of(double, name="double", description="Double it.")
    assert (made.name, made.spec.description, called(made, '{"x": 2}')) == ("double", "Double it.", 4)
    assert called(Tool.of(tool(name="also")(double)), '{"x": 2}') == 4
