"""Signatures: the schema that the model sees, what the function receives, and what is refused."""

import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Required, TypeVar, Union, cast
from uuid import UUID

import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.annotations import UnresolvedName
from agentkit.tools.tool import Tool, tool
from tests import future_annotations
from tests.tools.schema.values import BOOL, INT, NULL, NUM, STR, Schema, define_in, ref, values


def arr(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def model(required: str = "", **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": required.split()} if required else {})


def obj(required: str = "", /, extras: object = False, **properties: Schema) -> Schema:
    """Write the schema of arguments: the names of the required ones, then each property. DEFS has the definitions."""
    schema = model(required, **properties) | {"additionalProperties": extras}
    names: set[str] = set()
    while more := set(re.findall(r"#/\$defs/(\w+)", repr([schema, *map(DEFS.get, names)]))) - names:
        names |= more
    return schema | ({"$defs": {name: DEFS[name] for name in names}} if names else {})


define = functools.partial(define_in, globals())

# The tables are read across.
# fmt: off


class Unit(StrEnum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Shade(Enum):
    RED = "r"
    NUMBER = 3


@dataclass
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True)
class Segment:
    """Two points."""

    start: Point
    ends: list[Point] = field(default_factory=list[Point])


class Film(typing_extensions.TypedDict):
    title: str
    year: NotRequired[int]


class Options(typing_extensions.TypedDict, total=False):
    limit: Required[int]
    tag: str


class OldFilm(typing.TypedDict):
    title: str


class Qualified(typing_extensions.TypedDict):
    a: typing_extensions.ReadOnly[int]
    b: Annotated[NotRequired[int], "bee"]
    c: NotRequired[typing_extensions.ReadOnly[int]]


def keys_in_the_docstring(x: int, **more: int) -> object:
    """Search.

    Args:
        x: Where.
        limit: How many.
        more: Others.
    """
    return x, more


def publishes(annotation: object) -> Callable[[Callable[[str], object]], Callable[..., object]]:
    """Decorate a function with a signature of another type than its own (openai/openai-agents-python#3959)."""

    def decorate(function: Callable[[str], object]) -> Callable[..., object]:
        @functools.wraps(function)
        def call(n: object) -> object:
            return function(str(n))

        parameter = inspect.Parameter("n", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        call.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
        return call

    return decorate


@publishes(int)
def published(n: str) -> object:
    return n


published_names = publishes("Point")(define_in({}, "def function(n: str): return n"))


class Pair(NamedTuple):
    left: int
    right: str = "r"


PAIR: Schema = model("left", left=INT, right=STR | {"default": "r"}) | {"additionalProperties": False}


class User(BaseModel):
    """Somebody."""

    name: Annotated[str, Field(min_length=1, description="Full name.")]
    address: "Address | None" = None


class Address(BaseModel):
    street: str
    number: int = 1


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(alias="type")]


class Book(BaseModel):
    title: str
    properties: int = 0


class Node(BaseModel):
    value: int
    children: "list[Node]" = []


@dataclass
class Tree:
    leaf: int
    left: "Tree | None" = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
PET: Schema = {"discriminator": {"mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}, "propertyName": "kind"}, "oneOf": [ref("Cat"), ref("Dog")]}

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next: int | None = None


class PutOff(BaseModel):
    model_config = ConfigDict(defer_build=True)

    x: int


def same_name(**fields: Any) -> type[BaseModel]:
    return type("Twin", (BaseModel,), {"__annotations__": fields, "__module__": __name__})


TwinA, TwinB = same_name(a=int), same_name(b=str)
Count = Annotated[int, "Any count.", Field(ge=0)]
NOTHING_GIVEN = SimpleNamespace()

UNIT: Schema = {"enum": ["celsius", "kelvin"], "type": "string"}
LEVEL: Schema = {"enum": [1, 2], "type": "integer"}
DEFS: Schema = {
    "Point": model("x", x=INT, y=INT | {"default": 0}),
    "Segment": model("start", start=ref("Point"), ends=arr(ref("Point"))) | {"description": "Two points."},
    "Address": model("street", street=STR, number=INT | {"default": 1}),
    "User": model("name", name=STR | {"minLength": 1, "description": "Full name."}, address={"anyOf": [ref("Address"), NULL], "default": None}) | {"description": "Somebody."},
    "Node": model("value", value=INT, children=arr(ref("Node"), default=[])),
    "Tree": model("leaf", leaf=INT, left={"anyOf": [ref("Tree"), NULL], "default": None}),
    "Cat": model("kind", kind=STR | {"const": "cat"}, lives=INT | {"default": 9}),
    "Dog": model("kind good", kind=STR | {"const": "dog"}, good=BOOL),
    "Film": model("title", title=STR, year=INT) | {"additionalProperties": False},
    "Options": model("limit", limit=INT, tag=STR) | {"additionalProperties": False},
    "Aliased": model("type", type=STR) | {"additionalProperties": False},
    "PutOff": model("x", x=INT),
    "Book": model("title", title=STR, properties=INT | {"default": 0}),
    "Page_Point_": model("items", items=arr(ref("Point")), next={"anyOf": [INT, NULL], "default": None}),
    "City": model("name", name=STR),
    "Place": model("name", name=STR, inside={"anyOf": [ref("Place"), NULL], "default": None}),
}

# An annotation, its schema, an argument and what the function receives, an argument that is refused, where and why.
TYPES: list[tuple[str, Schema, str, object, str, str, str]] = [
    ("int", INT, "5", 5, '"five"', "", "int_parsing"),
    ("float", NUM, "5", 5.0, "[5]", "", "float_type"),
    ("str", STR, '"é \\u00e9"', "é é", "5", "", "string_type"),
    ("bool", BOOL, "true", True, "2", "", "bool_parsing"),
    ("None", NULL, "null", None, "0", "", "none_required"),
    ('Literal["b", "a"]', {"enum": ["b", "a"], "type": "string"}, '"a"', "a", '"c"', "", "literal_error"),
    ('Literal["a", "b"]', {"enum": ["a", "b"], "type": "string"}, '"a"', "a", '"A"', "", "literal_error"),
    ("Literal[1]", {"const": 1, "type": "integer"}, "1", 1, "2", "", "literal_error"),
    ('Literal[1, "auto", None]', {"enum": [1, "auto", None]}, "null", None, '"1"', "", "literal_error"),
    ("Unit", UNIT, '"kelvin"', Unit.KELVIN, '"KELVIN"', "", "enum"),
    ("Level", LEVEL, "2", Level.HIGH, "3", "", "enum"),
    ("Shade", {"enum": ["r", 3]}, "3", Shade.NUMBER, '"RED"', "", "enum"),
    ("int | str", {"anyOf": [INT, STR]}, '"5"', "5", "[]", "int", "int_type"),
    ("Union[list[int], str]", {"anyOf": [arr(INT), STR]}, "[1]", [1], "1", "list[int]", "list_type"),
    ("Pet", PET, '{"kind": "dog", "good": true}', Dog(kind="dog", good=True), '{"kind": "dog"}', "dog.good", "missing"),
    ("list[Pet]", arr(PET), '[{"kind": "cat"}]', [Cat(kind="cat")], '[{"kind": "cow"}]', "0", "union_tag_invalid"),
    ("Point | Address", {"anyOf": [ref("Point"), ref("Address")]}, '{"street": "s"}', Address(street="s"), '{"number": 1}', "Point.x", "missing"),
    ("list[str]", arr(STR), '["a"]', ["a"], '["a", 1]', "1", "string_type"),
    ("list[list[float]]", arr(arr(NUM)), "[[1], []]", [[1.0], []], '[[1], ["a"]]', "1.0", "float_parsing"),
    ("list", arr({}), '[1, "a", null]', [1, "a", None], "{}", "", "list_type"),
    ("Sequence[str]", arr(STR), '["a"]', ["a"], '"ab"', "", "list_type"),
    ("Iterable[int]", arr(INT), "[1, 2]", [1, 2], '[1, "a"]', "1", "int_parsing"),
    ("set[int]", arr(INT, uniqueItems=True), "[1, 2, 1]", {1, 2}, '["a"]', "0", "int_parsing"),
    ("frozenset[str]", arr(STR, uniqueItems=True), '["a"]', frozenset({"a"}), "[1]", "0", "string_type"),
    ("tuple[int, str]", {"type": "array", "prefixItems": [INT, STR], "minItems": 2, "maxItems": 2}, '[1, "a"]', (1, "a"), "[1]", "1", "missing"),
    ("tuple[int, ...]", arr(INT), "[1, 2]", (1, 2), "[1, null]", "1", "int_type"),
    ("dict[str, int]", {"type": "object", "additionalProperties": INT}, '{"a": 1}', {"a": 1}, '{"a": "b"}', "a", "int_parsing"),
    ("dict[int, str]", {"type": "object", "additionalProperties": STR}, '{"1": "a"}', {1: "a"}, '{"b": "a"}', "b.[key]", "int_parsing"),
    ("Mapping[str, float]", {"type": "object", "additionalProperties": NUM}, '{"a": 1}', {"a": 1.0}, "[]", "", "dict_type"),
    ("dict[str, Any]", {"type": "object", "additionalProperties": True}, '{"a": [1]}', {"a": [1]}, "1", "", "dict_type"),
    ("date", STR | {"format": "date"}, '"2024-02-29"', date(2024, 2, 29), '"2023-02-29"', "", "date_from_datetime_parsing"),
    ("datetime", STR | {"format": "date-time"}, '"2024-01-02T03:04:05Z"', datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), '"soon"', "", "datetime_from_date_parsing"),
    ("time", STR | {"format": "time"}, '"03:04"', time(3, 4), '"25:00"', "", "time_parsing"),
    ("timedelta", STR | {"format": "duration"}, '"PT1H30M"', timedelta(minutes=90), '"long"', "", "time_delta_parsing"),
    ("UUID", STR | {"format": "uuid"}, '"12345678-1234-5678-1234-567812345678"', UUID("12345678-1234-5678-1234-567812345678"), '"1"', "", "uuid_parsing"),
    ("bytes", STR | {"format": "binary"}, '"é"', b"\xc3\xa9", "1", "", "bytes_type"),
    ("Path", STR | {"format": "path"}, '"a/b"', Path("a/b"), "1", "", "path_type"),
    ("Point", ref("Point"), '{"x": 1}', Point(1), '{"x": 1, "y": "a"}', "y", "int_parsing"),
    ("Segment", ref("Segment"), '{"start": {"x": 1}, "ends": [{"x": 2}]}', Segment(Point(1), [Point(2)]), '{"start": {"x": 1}, "ends": [{}]}', "ends.0.x", "missing"),
    ("Film", ref("Film"), '{"title": "Metropolis"}', {"title": "Metropolis"}, '{"year": 1927}', "title", "missing"),
    ("Options", ref("Options"), '{"limit": 1}', {"limit": 1}, '{"tag": "a"}', "limit", "missing"),
    ("Pair", PAIR, '{"left": 1}', Pair(1), '{"left": "a"}', "left", "int_parsing"),
    ("Pair", PAIR, '[1, "b"]', Pair(1, "b"), '[1, "b", 2]', "", "dict_type"),
    ("Pair", PAIR, "[1]", Pair(1), '{"left": 1, "top": 2}', "top", "extra_forbidden"),
    ("User", ref("User"), '{"name": "A", "address": {"street": "s"}}', User(name="A", address=Address(street="s")), '{"name": ""}', "name", "string_too_short"),
    ("Aliased", ref("Aliased"), '{"type": "a"}', Aliased.model_validate({"type": "a"}), '{"type": "a", "kind": "b"}', "kind", "extra_forbidden"),
    ("Node", ref("Node"), '{"value": 1, "children": [{"value": 2}]}', Node(value=1, children=[Node(value=2)]), '{"value": 1, "children": [{}]}', "children.0.value", "missing"),
    ("Tree", ref("Tree"), '{"leaf": 1, "left": {"leaf": 2}}', Tree(1, Tree(2)), '{"leaf": 1, "left": {}}', "left.leaf", "missing"),
    ("Page[int]", model("items", items=arr(INT), next={"anyOf": [INT, NULL], "default": None}), '{"items": [1]}', Page[int](items=[1]), '{"items": ["a"]}', "items.0", "int_parsing"),
    ("list[Page[Point]]", arr(ref("Page_Point_")), '[{"items": [{"x": 1}]}]', [Page[Point](items=[Point(1)])], '[{"items": [{}]}]', "0.items.0.x", "missing"),
    ("PutOff", ref("PutOff"), '{"x": 1}', PutOff(x=1), "{}", "x", "missing"),
    ("Annotated[int, Field(ge=0, lt=10, multiple_of=2)]", INT | {"minimum": 0, "exclusiveMaximum": 10, "multipleOf": 2}, "8", 8, "10", "", "less_than"),
    ("Annotated[float, Field(gt=0), Field(le=1.5)]", NUM | {"exclusiveMinimum": 0, "maximum": 1.5}, "1.5", 1.5, "0", "", "greater_than"),
    ('Annotated[str, Field(min_length=2, max_length=3, pattern="^[a-z]+$")]', STR | {"minLength": 2, "maxLength": 3, "pattern": "^[a-z]+$"}, '"ab"', "ab", '"a1"', "", "string_pattern_mismatch"),
    ("Annotated[list[int], Field(min_length=1, max_length=2)]", arr(INT, minItems=1, maxItems=2), "[1]", [1], "[]", "", "too_short"),
    ("list[Annotated[int, Field(ge=1)]]", arr(INT | {"minimum": 1}), "[1]", [1], "[1, 0]", "1", "greater_than_equal"),
    ('Annotated[int, "How many."]', INT | {"description": "How many."}, "1", 1, "null", "", "int_type"),
    ('Annotated[int, ["a list cannot be hashed"]]', INT, "1", 1, "null", "", "int_type"),
    ('Annotated[Count, "This one."]', INT | {"minimum": 0, "description": "This one."}, "1", 1, "-1", "", "greater_than_equal"),
    ('Annotated[int, Field(description="From the field.", title="T", examples=[3])]', INT | {"description": "From the field.", "examples": [3]}, "1", 1, "1.5", "", "int_from_float"),
    ('Annotated[Point, "Where."]', ref("Point") | {"description": "Where."}, '{"x": 1}', Point(1), "null", "", "dataclass_type"),
    ('"list[\'int\']"', arr(INT), "[1]", [1], '["a"]', "0", "int_parsing"),
    ('Annotated[int, pydantic.AfterValidator(lambda x: 2 * x if x % 2 else int("an even number"))]', INT, "3", 6, "4", "", "value_error"),
    ('Annotated[str, pydantic.BeforeValidator(lambda x: str(x) if isinstance(x, int) else x), pydantic.WithJsonSchema({"type": "string", "format": "iban", "title": "T"})]', STR | {"format": "iban"}, "12", "12", "[1]", "", "string_type"),
]

# A function, the schema of its arguments, arguments and what it receives, arguments that are refused, where and why.
SIGNATURES: list[tuple[str | Callable[..., object], Schema, str, object, str, str, str]] = [
    *[
        (f"def function(x: {annotation}): return x", obj("x", x=x), f'{{"x": {good}}}', received, f'{{"x": {bad}}}', f"x.{where}".rstrip("."), error)
        for annotation, x, good, received, bad, where, error in TYPES
    ],
    ("def enum_by_default(x: Unit=Unit.KELVIN): return x", obj("", x=UNIT | {"default": "kelvin"}), "{}", Unit.KELVIN, '{"x": ""}', "x", "enum"),
    ("def optional_and_required(x: Optional[int]): return x", obj("x", x={"anyOf": [INT, NULL]}), '{"x": null}', None, "{}", "x", "missing"),
    ("def optional_by_default(x: int | None=None): return x", obj("", x={"anyOf": [INT, NULL], "default": None}), '{"x": 3}', 3, '{"x": "a"}', "x", "int_parsing"),
    ("def dataclass_by_default(at: Point=Point(1, 2)): return at", obj("", at=ref("Point") | {"default": {"x": 1, "y": 2}}), "{}", Point(1, 2), '{"at": 1}', "at", "dataclass_type"),
    ("def one_dataclass_twice(a: Point, b: list[Point]): return a, b", obj("a b", a=ref("Point"), b=arr(ref("Point"))), '{"a": {"x": 1}, "b": []}', (Point(1), list[Point]()), '{"a": {}, "b": []}', "a.x", "missing"),
    ("def parameter_and_field_named_title(title: str, book: Book): return title, book", obj("title book", title=STR, book=ref("Book")), '{"title": "t", "book": {"title": "b"}}', ("t", Book(title="b")), '{"title": "t", "book": {}}', "book.title", "missing"),
    ("def recursive_model_twice(a: Node, b: Node | None=None): return a, b", obj("a", a=ref("Node"), b={"anyOf": [ref("Node"), NULL], "default": None}), '{"a": {"value": 1}}', (Node(value=1), None), '{"a": {"value": 1}, "b": {}}', "b.value", "missing"),
    ("def field_as_default(x: int=Field(default=3, ge=1)): return x", obj("", x=INT | {"default": 3, "minimum": 1}), "{}", 3, '{"x": 0}', "x", "greater_than_equal"),
    ("def field_without_default(x: int=Field(ge=1)): return x", obj("x", x=INT | {"minimum": 1}), '{"x": 1}', 1, "{}", "x", "missing"),
    ("def field_with_factory(x: list[int]=Field(default_factory=list[int])): return x", obj("", x=arr(INT)), "{}", [], '{"x": 1}', "x", "list_type"),
    ("def own_default_before_the_fields(x: Annotated[int, Field(default=3)]=5): return x", obj("", x=INT | {"default": 5}), "{}", 5, '{"x": "a"}', "x", "int_parsing"),
    ("def default_in_the_annotation(x: Annotated[int, Field(default=3)]): return x", obj("", x=INT | {"default": 3}), "{}", 3, '{"x": "a"}', "x", "int_parsing"),
    ("def alias(sender: Annotated[str, Field(alias='from')]): return sender", obj("from", **{"from": STR}), '{"from": "Rome"}', "Rome", '{"sender": "Rome"}', "from", "missing"),
    ("def validation_alias_with_default(place: Annotated[str, Field(validation_alias='in', alias='no')]='here'): return place", obj("", **{"in": STR | {"default": "here"}}), '{"in": "there"}', "there", '{"in": 1}', "in", "string_type"),
    ("def defaults_with_a_json_form(on: date=date(2024, 1, 2), rate: str='1.5', path: Path=Path('here')): return on, rate, path", obj("", on=STR | {"format": "date", "default": "2024-01-02"}, rate={"default": "1.5", "type": "string"}, path=STR | {"format": "path", "default": "here"}), "{}", (date(2024, 1, 2), "1.5", Path("here")), '{"on": 1.5}', "on", "date_from_datetime_inexact"),
    ("def set_by_default(x: frozenset[str]=frozenset('cab')): return x", obj("", x=arr(STR, uniqueItems=True, default=["a", "b", "c"])), "{}", frozenset("abc"), '{"x": "a"}', "x", "frozen_set_type"),
    ("def none_by_default_for_a_text(x: str=None): return x", obj("", x=STR | {"default": None}), "{}", None, '{"x": null}', "x", "string_type"),
    ("def default_that_json_cannot_say(x: Any=NOTHING_GIVEN): return x", obj("", x={}), "{}", NOTHING_GIVEN, '{"y": 1}', "y", "extra_forbidden"),
    ("def star(x: str, *numbers: int): return x, numbers", obj("x", x=STR, numbers=arr(INT)), '{"x": "a", "numbers": [1, 2]}', ("a", (1, 2)), '{"x": "a", "numbers": ["b"]}', "numbers.0", "int_parsing"),
    ("def bare_star(*args: Any): return args", obj("", args=arr({})), "{}", (), '{"args": 1}', "args", "list_type"),
    ("def typed_stars(**sizes: int): return sizes", obj("", extras=INT), '{"a": 1, "b": 2}', {"a": 1, "b": 2}, '{"a": "b"}', "a", "int_parsing"),
    (keys_in_the_docstring, obj("x", extras=INT, x=INT | {"description": "Where."}, limit=INT | {"description": "How many."}), '{"x": 1, "limit": 2, "z": 3}', (1, {"limit": 2, "z": 3}), '{"x": 1, "limit": "a"}', "limit", "int_parsing"),
    ("def qualified(**keys: Unpack[Qualified]): return keys", obj("a", a=INT, b=INT | {"description": "bee"}, c=INT), '{"a": 1, "c": 2}', {"a": 1, "c": 2}, '{"b": 1}', "a", "missing"),
    (published, obj("n", n=INT), '{"n": 3}', "3", '{"n": "a"}', "n", "int_parsing"),
    (published_names, obj("n", n=ref("Point")), '{"n": {"x": 3}}', "Point(x=3, y=0)", '{"n": {}}', "n.x", "missing"),
    ("def stars(x: int, **more: Any): return x, more", obj("x", extras=True, x=INT), '{"x": 1, "y": [null]}', (1, {"y": [None]}), '{"y": 1}', "x", "missing"),
    ("def stars_of_dataclasses(**points: Point): return points", obj("", extras=ref("Point")), '{"a": {"x": 1}}', {"a": Point(1)}, '{"a": {}}', "a.x", "missing"),
    ("def stars_of_a_typed_dict(**options: Unpack[Options]): return options", obj("limit", limit=INT, tag=STR), '{"limit": 1}', {"limit": 1}, '{"tag": "a"}', "limit", "missing"),
    ("def stars_of_a_typed_dict_of_the_extensions(x: int, **film: typing_extensions.Unpack[Film]): return x, film", obj("x title", x=INT, title=STR, year=INT), '{"x": 1, "title": "t"}', (1, {"title": "t"}), '{"x": 1, "title": "t", "z": 1}', "z", "extra_forbidden"),
    ("def positional_only(a: int, b: int=2, /): return a, b", obj("a", a=INT, b=INT | {"default": 2}), '{"a": 1}', (1, 2), '{"b": 1}', "a", "missing"),
    ("def keyword_only(*, a: int, b: str): return a, b", obj("a b", a=INT, b=STR), '{"b": "x", "a": 1}', (1, "x"), '{"a": 1}', "b", "missing"),
    ("def every_kind(a: int, b: int=2, /, c: int=3, *rest: str, d: float, e: str='e', **more: bool): return a, b, c, rest, d, e, more", obj("a d", extras=BOOL, a=INT, b=INT | {"default": 2}, c=INT | {"default": 3}, rest=arr(STR), d=NUM, e=STR | {"default": "e"}), '{"d": 1, "rest": ["x"], "a": 1, "f": true}', (1, 2, 3, ("x",), 1.0, "e", {"f": True}), '{"a": 1, "d": 1, "f": "perhaps"}', "f", "bool_parsing"),
    ('def no_parameters(): return "done"', obj(), "{}", "done", '{"x": 1}', "x", "extra_forbidden"),
    ("def anything(x: Any): return x", obj("x", x={}), '{"x": {"a": null}}', {"a": None}, "{}", "x", "missing"),
    ("def any_object(x: object): return x", obj("x", x={}), '{"x": [1]}', [1], "{}", "x", "missing"),
    ("def no_annotations(x, y=2): return x, y", obj("x", x={}, y={"default": 2}), '{"x": "1"}', ("1", 2), '{"y": 1}', "x", "missing"),
    ("def no_annotations_with_field(x=Field(description='D.')): return x", obj("x", x={"description": "D."}), '{"x": 2}', 2, "{}", "x", "missing"),
    ("def type_variable(x: Item): return x", obj("x", x={}), '{"x": 1}', 1, "{}", "x", "missing"),
    (future_annotations.book, obj("city", city=ref("City"), days=INT | {"minimum": 1, "default": 2}, on={"anyOf": [STR | {"format": "date"}, NULL], "default": None}), '{"city": {"name": "Rome"}, "on": "2024-01-02"}', (future_annotations.City(name="Rome"), 2, date(2024, 1, 2)), '{"city": {"name": "Rome"}, "days": 0}', "days", "greater_than_equal"),
    (future_annotations.later, obj("place", place=ref("Place")), '{"place": {"name": "a"}}', future_annotations.Place(name="a"), '{"place": {"name": "a", "inside": {}}}', "place.inside.name", "missing"),
]


def signature_id(function: object) -> str:
    return getattr(function, "__name__", str(function).removeprefix("def ").partition(": return")[0])


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if type(one) in (list, tuple):
        return all(alike(*pair) for pair in zip(one, other, strict=True))
    return type(one) is not dict or all(alike(one[key], other[key]) for key in cast("Schema", one))


def called(tool: Tool, call: str) -> object:
    args, kwargs = tool.arguments.bind(tool.arguments.validate(call))
    return tool.function(*args, **kwargs)


def errors_of(tool: Tool, call: str) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        tool.arguments.validate(call)
    return [(".".join(map(str, error["loc"])), error["type"]) for error in caught.value.errors()]




@pytest.mark.parametrize("row", SIGNATURES, ids=lambda row: signature_id(row[0]))
def test_schema_and_call(row: Any) -> None:
    signature, schema, call, received, bad, where, error = row
    made = Tool.of(define(signature) if isinstance(signature, str) else signature)
    told = made.arguments.schema
    assert told == schema
    assert list(cast("Schema", told["properties"])) == list(schema["properties"])
    for _ in range(2):
        assert alike(called(made, call), received)
    assert (where, error) in errors_of(made, bad)


def test_decimals() -> None:
    made = Tool.of(define("def pay(amount: Decimal = Decimal('1.50')): return amount"))
    schema = cast("Schema", made.arguments.schema["properties"])["amount"]
    assert (schema["anyOf"][0], schema["anyOf"][1]["type"], schema["default"]) == (NUM, "string", "1.50")
    assert alike(called(made, '{"amount": "2.50"}'), Decimal("2.50"))
    assert alike(called(made, '{"amount": 2.5}'), Decimal("2.5"))
    assert errors_of(made, '{"amount": "much"}') == [("amount", "decimal_parsing")]


def test_two_types_of_one_name_are_told_apart() -> None:
    source = "def compare(a: TwinA, b: 'Annotated[list[TwinB], \"Several.\"]', c: Annotated[int, Field(alias='see')] = 1, **more: TwinB): return a, b, c, more"
    made = Tool.of(define(source))
    schema = made.arguments.schema
    assert sorted(cast("Schema", schema["$defs"]).values(), key=repr) == [model("a", a=INT), model("b", b=STR)]
    properties = cast("Schema", schema["properties"])
    assert (properties["b"]["description"], properties["see"]) == ("Several.", INT | {"default": 1})
    assert schema["additionalProperties"] == properties["b"]["items"]
    assert called(made, '{"a": {"a": 1}, "b": [{"b": "x"}], "k": {"b": "y"}}') == (TwinA(a=1), [TwinB(b="x")], 1, {"k": TwinB(b="y")})
    assert errors_of(made, '{"a": {"b": "x"}, "b": [{"a": 1}]}') == [("a.a", "missing"), ("b.0.b", "missing")]


def test_a_model_with_an_inner_one_of_its_own_name() -> None:
    outer = same_name(inner=TwinA)
    made = Tool.of(define("def take(x: Outer): return x", Outer=outer))
    properties, defs = (cast("Schema", made.arguments.schema[key]) for key in ("properties", "$defs"))
    fields = defs[properties["x"]["$ref"].removeprefix("#/$defs/")] if "$ref" in properties["x"] else properties["x"]
    assert defs[fields["properties"]["inner"]["$ref"].removeprefix("#/$defs/")] == model("a", a=INT)
    assert called(made, '{"x": {"inner": {"a": 1}}}') == outer(inner=TwinA(a=1))


def test_a_discriminator_that_maps_a_title() -> None:
    kinds = {name: type(name.title(), (BaseModel,), {"__annotations__": {"kind": Literal[name]}, "__module__": __name__}) for name in ("title", "body")}
    made = Tool.of(define("def write(part: Annotated[A | B, Field(discriminator='kind')]): return part", A=kinds["title"], B=kinds["body"]))
    mapping = cast("Schema", made.arguments.schema["properties"])["part"]["discriminator"]["mapping"]
    assert mapping == {"title": "#/$defs/Title", "body": "#/$defs/Body"}


def test_what_a_partial_has_bound_cannot_be_passed() -> None:
    made = Tool.of(functools.partial(define("def search(query: str, **filters: Any): return query, filters"), tenant="mine"))
    assert called(made, '{"query": "q", "page": 1}') == ("q", {"tenant": "mine", "page": 1})
    assert errors_of(made, '{"query": "q", "tenant": "theirs"}') == [("tenant", "extra_forbidden")]
    made = Tool.of(functools.partial(define("def two(factor: int, speed: int): return factor * speed"), factor=2))
    assert errors_of(made, '{"factor": 1, "speed": 1}') == [("factor", "extra_forbidden")]


def test_a_key_in_the_docstring_that_a_partial_has_bound_by_position() -> None:
    made = Tool.of(functools.partial(keys_in_the_docstring, 1))
    assert made.arguments.schema == obj("", extras=INT, limit=INT | {"description": "How many."})


@pytest.mark.parametrize("call", ['{"length": 1, "size": -5}', '{"size": -5, "length": 1}'])
def test_an_alias_cannot_be_passed_by(call: str) -> None:
    made = Tool.of(define("def take(size: Annotated[int, Field(alias='length', ge=0)], **more: Any): return size, more"))
    assert called(made, call) == (1, {})


def test_the_defaults_of_what_was_left_out() -> None:
    arguments = Tool.of(define("def pay(order: Annotated[int, Field(alias='order id')], currency: str = 'EUR', *notes: str): ...")).arguments
    assert arguments.names == {"order id": "order", "currency": "currency", "notes": "notes"}
    assert arguments.complete(arguments.validate('{"order id": 1}')) == {"order": 1, "currency": "EUR"}
    assert arguments.complete({"order": 1, "currency": "USD"}) == {"order": 1, "currency": "USD"}


# fmt: on


def test_local_types() -> None:
    class Local(BaseModel):
        a: "Inner"

    class Inner(BaseModel):
        b: int

    def use(x: "Local") -> object:
        return x

    @tool
    def decorated(x: "Local") -> object:
        return x

    for function in (use, decorated):
        assert called(Tool.of(function), '{"x": {"a": {"b": 1}}}') == Local(a=Inner(b=1))


def test_local_types_under_future_annotations() -> None:
    made, line = future_annotations.of_local_types()
    value = called(made, '{"line": {"start": {"x": 1}, "end": {"x": 2}}}')
    assert isinstance(value, line)
    assert "start=of_local_types.<locals>.Point(x=1)" in repr(value)
    assert errors_of(future_annotations.of_shadowing_type(), '{"city": {"name": "Rome"}}') == [("city.code", "missing")]
    made = Tool.of(future_annotations.Counter(words=[]).count)
    assert called(made, '{"other": {"words": ["a"]}}') == future_annotations.Counter(words=["a"])


def test_a_type_that_is_defined_after_the_decorator() -> None:
    class Shop:
        @tool
        def sell(self, item: "Ware") -> object:
            return item

    @tool
    def buy(item: "Ware") -> object:
        return item

    with pytest.raises(UnresolvedName, match=r"buy, parameter 'item': 'Ware'"):
        Tool.of(buy)

    class Ware(BaseModel):
        name: str

    for function in (buy, Shop().sell):
        assert called(Tool.of(function), '{"item": {"name": "tea"}}') == Ware(name="tea")
        assert Tool.of(function).arguments is Tool.of(function).arguments


def test_a_model_with_a_field_that_is_defined_later() -> None:
    source = "class Order(BaseModel):\n  ware: 'Missing'\ndef place(order: Order): return order"
    with pytest.raises(UnresolvedName, match=r"place, parameter 'order': .*Order"):
        Tool.of(define(source))
    source = "class Later(BaseModel):\n  a: int\ndef take(x: 'list[Later]'): return repr(x)"
    assert called(Tool.of(define(source)), '{"x": [{"a": 1}]}') == "[Later(a=1)]"


class Connection: ...


class Hooked:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        raise RuntimeError("the hook is broken")


UNSUPPORTED: list[tuple[object, str]] = [
    (Connection, r"Connection has no JSON form .*functools\.partial"),
    (Callable[[int], str], r"Callable\[\[int\], str\] has no JSON form"),
    (type, "has no JSON form"),
    (sys, "has no JSON form"),
    (IO[str], "has no JSON form"),
    (list[Connection], "has no JSON form"),
    (5, "has no JSON form"),
    (Hooked, "the hook is broken"),
    (Literal[()], "has no JSON form"),
    ("the city's name", r"the city\'s name.* is not a type"),
    ("sys.nothing", "'sys.nothing' is not a type"),
    ("Nowhere", "'Nowhere' is not defined"),
]
if sys.version_info < (3, 12):  # pydantic takes it from Python 3.12 on
    UNSUPPORTED.extend([(OldFilm, "typing_extensions"), (list[OldFilm], "typing_extensions")])


@pytest.mark.parametrize(("annotation", "message"), UNSUPPORTED, ids=repr)
def test_an_unsupported_annotation(annotation: object, message: str) -> None:
    def use(city: str, thing: int) -> object:
        return city, thing

    use.__annotations__["thing"] = annotation
    for make in (Tool.of, tool(timeout=5)):
        if annotation != "Nowhere" or make == Tool.of:
            with pytest.raises(ToolDefinitionError, match=rf"use, parameter 'thing': .*{message}") as caught:
                make(use)
            assert "arbitrary_types_allowed" not in str(caught.value)


def test_a_builtin_without_a_signature_and_two_parameters_of_one_name() -> None:
    for function in (max, log):
        with pytest.raises(ToolDefinitionError, match=function.__name__):
            Tool.of(cast("Any", function))
    with pytest.raises(ToolDefinitionError, match=r"use: two parameters .*'b'"):
        Tool.of(define("def use(a: Annotated[int, Field(alias='b')], b: int): ..."))


# fmt: off
SIMPLE: list[Any] = [
    int, float, str, bool, None, Literal["a", "b"], Literal[1, "1"], Unit, Level, date, UUID, Point, Film, Node, User, Book, Pair, Pet,
    Annotated[int, Field(ge=-3, lt=40)], Annotated[str, Field(min_length=1, max_length=3)],
]
# fmt: on
LIST, DICT, TUPLE, UNION, ANNOTATED = cast("tuple[Any, ...]", (list, dict, tuple, Union, Annotated))
annotations: SearchStrategy[Any] = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: (
        inner.map(lambda item: LIST[item])
        | inner.map(lambda item: DICT[str, item])
        | inner.map(lambda item: TUPLE[item, ...])
        | inner.map(lambda item: UNION[item, None])
        | inner.map(lambda item: ANNOTATED[LIST[item], Field(max_length=2)])
        | st.tuples(inner, inner).map(lambda pair: TUPLE[pair])
        | st.tuples(inner, inner).map(lambda pair: UNION[pair])
    ),
    max_leaves=4,
)


@st.composite
def signatures(draw: st.DrawFn) -> Callable[..., object]:
    names = {f"a{number}": annotation for number, annotation in enumerate(draw(st.lists(annotations, max_size=3)))}
    parameters = [f"p{name}: {name}" for name in names]
    last = draw(st.sampled_from(["", " = None"])) if names else ""
    return define(f"def function({', '.join(parameters)}{last}): return locals()", **names)


@given(signatures(), st.data())
def test_the_schema_says_the_same_as_the_validator(function: Callable[..., object], data: st.DataObject) -> None:
    made = Tool.of(function)
    schema = made.arguments.schema
    value = data.draw(values(schema, cast("Schema", schema.get("$defs", {}))))
    assert made.arguments.validate(to_json(value)).keys() == value.keys()
    for name in cast("list[str]", schema.get("required", [])):
        less = {key: item for key, item in value.items() if key != name}
        assert errors_of(made, to_json(less).decode()) == [(name, "missing")]
    assert errors_of(made, to_json(value | {"other": 1}).decode()) == [("other", "extra_forbidden")]


@given(annotations)
def test_a_schema_is_plain_json_and_always_the_same(annotation: Any) -> None:
    function = define("def function(x: a): return x", a=annotation)
    schema = Tool.of(function).arguments.schema
    assert from_json(to_json(schema)) == schema
    assert to_json(schema) == to_json(Tool.of(function).arguments.schema)
    assert b'"title":"' not in to_json(schema)
