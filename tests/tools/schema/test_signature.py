"""Signatures: the schema that a model is told, what a function receives, and what is refused."""

import collections.abc
import functools
import math
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import (
    IO,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    Required,
    TypeVar,
    Union,
    Unpack,
    cast,
)
from uuid import UUID

import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import from_json, to_json

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.annotations import UnresolvedName
from agentkit.tools.schema.callables import callable_name
from agentkit.tools.tool import Tool, tool
from tests import future_annotations

Schema = dict[str, Any]
INT: Schema = {"type": "integer"}
NUM: Schema = {"type": "number"}
STR: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def arr(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def obj(required: str = "", /, defs: Schema | None = None, extras: object = False, **properties: Schema) -> Schema:
    """Write the schema of arguments: the names of the required ones, then each property."""
    schema: Schema = {"type": "object", "properties": properties}
    schema |= {"required": required.split()} if required else {}
    return schema | {"additionalProperties": extras} | ({"$defs": defs} if defs else {})


def model(required: str = "", **properties: Schema) -> Schema:
    schema = obj(required, **properties)
    del schema["additionalProperties"]
    return schema


class Row(NamedTuple):
    function: Callable[..., object]
    schema: Schema
    call: str
    received: object
    bad: str
    where: str
    error: str


ROWS: list[Row] = []
F = TypeVar("F", bound=Callable[..., object])


def row(  # noqa: PLR0917 (a row of a table)
    schema: Schema, call: str, received: object, bad: str, where: str, error: str
) -> Callable[[F], F]:
    def add(function: F) -> F:
        ROWS.append(Row(function, schema, call, received, bad, where, error))
        return function

    return add


def made(source: str, **names: object) -> Callable[..., object]:
    """Make a function of source that a type checker would not pass, such as one without annotations."""
    scope: dict[str, Any] = {"__name__": __name__, **names}
    exec(source, scope)  # noqa: S102 (the source stands in this file)
    return cast("Callable[..., object]", scope[source.rpartition("def ")[2].partition("(")[0]])


# The tables are read across.
# fmt: off
# ---------------------------------------------------------------------------------------------------------- the types


class Unit(StrEnum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Shade(Enum):
    RED = "r"
    NUMBER = 3


UNIT: Schema = {"enum": ["celsius", "kelvin"], "type": "string"}
LEVEL: Schema = {"enum": [1, 2], "type": "integer"}


@dataclass
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True)
class Segment:
    """Two points."""

    start: Point
    ends: list[Point] = field(default_factory=list[Point])


POINT = model("x", x=INT, y=INT | {"default": 0})
SEGMENT = model("start", start=ref("Point"), ends=arr(ref("Point"))) | {"description": "Two points."}


class Film(typing_extensions.TypedDict):
    title: str
    year: NotRequired[int]


class Options(typing_extensions.TypedDict, total=False):
    limit: Required[int]
    tag: str


class OldFilm(typing.TypedDict):
    title: str


class Pair(NamedTuple):
    left: int
    right: str = "r"


PAIR: Schema = {"type": "array", "prefixItems": [INT, STR | {"default": "r"}], "minItems": 1, "maxItems": 2}


class User(BaseModel):
    """Somebody."""

    name: Annotated[str, Field(min_length=1, description="Full name.")]
    address: "Address | None" = None


class Address(BaseModel):
    street: str
    number: int = 1


ADDRESS = model("street", street=STR, number=INT | {"default": 1})
USER = model("name", name=STR | {"minLength": 1, "description": "Full name."}, address={"anyOf": [ref("Address"), NULL], "default": None}) | {"description": "Somebody."}


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(alias="type")]


class Book(BaseModel):
    title: str
    properties: int = 0


class Node(BaseModel):
    value: int
    children: "list[Node]" = []


NODE = model("value", value=INT, children=arr(ref("Node"), default=[]))


@dataclass
class Tree:
    leaf: int
    left: "Tree | None" = None


TREE = model("leaf", leaf=INT, left={"anyOf": [ref("Tree"), NULL], "default": None})


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


CAT = model("kind", kind=STR | {"const": "cat"}, lives=INT | {"default": 9})
DOG = model("kind good", kind=STR | {"const": "dog"}, good=BOOL)
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


# -------------------------------------------------------------------------------------------------------- the signatures


@row(obj("x", x=INT), '{"x": 5}', 5, '{"x": "five"}', "x", "int_parsing")
def integer(x: int) -> object:
    return x


@row(obj("x", x=NUM), '{"x": 5}', 5.0, '{"x": [5]}', "x", "float_type")
def number(x: float) -> object:
    return x


@row(obj("x", x=STR), '{"x": "é \\u00e9"}', "é é", '{"x": 5}', "x", "string_type")
def text(x: str) -> object:
    return x


@row(obj("x", x=BOOL), '{"x": true}', True, '{"x": 2}', "x", "bool_parsing")
def boolean(x: bool) -> object:
    return x


@row(obj("x", x=NULL), '{"x": null}', None, '{"x": 0}', "x", "none_required")
def nothing_but_none(x: None) -> object:
    return x


@row(obj("x", x={"enum": ["b", "a"], "type": "string"}), '{"x": "a"}', "a", '{"x": "c"}', "x", "literal_error")
def literal_texts(x: Literal["b", "a"]) -> object:
    return x


@row(obj("x", x={"enum": ["a", "b"], "type": "string"}), '{"x": "a"}', "a", '{"x": "A"}', "x", "literal_error")
def literal_texts_in_another_order(x: Literal["a", "b"]) -> object:
    return x


@row(obj("x", x={"const": 1, "type": "integer"}), '{"x": 1}', 1, '{"x": 2}', "x", "literal_error")
def literal_of_one(x: Literal[1]) -> object:
    return x


@row(obj("x", x={"enum": [1, "auto", None]}), '{"x": null}', None, '{"x": "1"}', "x", "literal_error")
def literal_of_several_types(x: Literal[1, "auto", None]) -> object:  # noqa: PYI061 (as people write)
    return x


@row(obj("x", x=UNIT), '{"x": "kelvin"}', Unit.KELVIN, '{"x": "KELVIN"}', "x", "enum")
def enum_of_texts(x: Unit) -> object:
    return x


@row(obj("x", x=LEVEL), '{"x": 2}', Level.HIGH, '{"x": 3}', "x", "enum")
def enum_of_integers(x: Level) -> object:
    return x


@row(obj("x", x={"enum": ["r", 3]}), '{"x": 3}', Shade.NUMBER, '{"x": "RED"}', "x", "enum")
def plain_enum(x: Shade) -> object:
    return x


@row(obj("", x=UNIT | {"default": "kelvin"}), "{}", Unit.KELVIN, '{"x": ""}', "x", "enum")
def enum_by_default(x: Unit = Unit.KELVIN) -> object:
    return x


@row(obj("x", x={"anyOf": [INT, NULL]}), '{"x": null}', None, "{}", "x", "missing")
def optional_and_required(x: Optional[int]) -> object:  # noqa: UP045 (the older spelling is the point)
    return x


@row(obj("", x={"anyOf": [INT, NULL], "default": None}), '{"x": 3}', 3, '{"x": "a"}', "x", "int_parsing")
def optional_by_default(x: int | None = None) -> object:
    return x


@row(obj("x", x={"anyOf": [INT, STR]}), '{"x": "5"}', "5", '{"x": []}', "x.int", "int_type")
def union(x: int | str) -> object:
    return x


@row(obj("x", x={"anyOf": [arr(INT), STR]}), '{"x": [1]}', [1], '{"x": 1}', "x.list[int]", "list_type")
def union_spelled_out(x: Union[list[int], str]) -> object:  # noqa: UP007 (the older spelling is the point)
    return x


@row(obj("x", defs={"Cat": CAT, "Dog": DOG}, x=PET), '{"x": {"kind": "dog", "good": true}}', Dog(kind="dog", good=True), '{"x": {"kind": "dog"}}', "x.dog.good", "missing")
def discriminated_union(x: Pet) -> object:
    return x


@row(obj("x", defs={"Cat": CAT, "Dog": DOG}, x=arr(PET)), '{"x": [{"kind": "cat"}]}', [Cat(kind="cat")], '{"x": [{"kind": "cow"}]}', "x.0", "union_tag_invalid")
def list_of_discriminated_unions(x: list[Pet]) -> object:
    return x


@row(obj("x", defs={"Address": ADDRESS, "Point": POINT}, x={"anyOf": [ref("Point"), ref("Address")]}), '{"x": {"street": "s"}}', Address(street="s"), '{"x": {"number": 1}}', "x.Point.x", "missing")
def union_of_models(x: Point | Address) -> object:
    return x


@row(obj("x", x=arr(STR)), '{"x": ["a"]}', ["a"], '{"x": ["a", 1]}', "x.1", "string_type")
def list_of_texts(x: list[str]) -> object:
    return x


@row(obj("x", x=arr(arr(NUM))), '{"x": [[1], []]}', [[1.0], []], '{"x": [[1], ["a"]]}', "x.1.0", "float_parsing")
def list_of_lists(x: list[list[float]]) -> object:
    return x


@row(obj("x", x=arr({})), '{"x": [1, "a", null]}', [1, "a", None], '{"x": {}}', "x", "list_type")
def bare_list(x: list) -> object:  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
    return x  # pyright: ignore[reportUnknownVariableType]


@row(obj("x", x=arr(STR)), '{"x": ["a"]}', ["a"], '{"x": "ab"}', "x", "list_type")
def sequence(x: Sequence[str]) -> object:
    return x


@row(obj("x", x=arr(INT)), '{"x": [1, 2]}', [1, 2], '{"x": [1, "a"]}', "x.1", "int_parsing")
def iterable(x: Iterable[int]) -> object:
    return x


@row(obj("x", x=arr(INT, uniqueItems=True)), '{"x": [1, 2, 1]}', {1, 2}, '{"x": ["a"]}', "x.0", "int_parsing")
def set_of_integers(x: set[int]) -> object:
    return x


@row(obj("x", x=arr(STR, uniqueItems=True)), '{"x": ["a"]}', frozenset({"a"}), '{"x": [1]}', "x.0", "string_type")
def frozen_set(x: frozenset[str]) -> object:
    return x


@row(obj("x", x={"type": "array", "prefixItems": [INT, STR], "minItems": 2, "maxItems": 2}), '{"x": [1, "a"]}', (1, "a"), '{"x": [1]}', "x.1", "missing")
def fixed_tuple(x: tuple[int, str]) -> object:
    return x


@row(obj("x", x=arr(INT)), '{"x": [1, 2]}', (1, 2), '{"x": [1, null]}', "x.1", "int_type")
def variadic_tuple(x: tuple[int, ...]) -> object:
    return x


@row(obj("x", x={"type": "object", "additionalProperties": INT}), '{"x": {"a": 1}}', {"a": 1}, '{"x": {"a": "b"}}', "x.a", "int_parsing")
def dictionary(x: dict[str, int]) -> object:
    return x


@row(obj("x", x={"type": "object", "additionalProperties": STR}), '{"x": {"1": "a"}}', {1: "a"}, '{"x": {"b": "a"}}', "x.b.[key]", "int_parsing")
def dictionary_by_integers(x: dict[int, str]) -> object:
    return x


@row(obj("x", x={"type": "object", "additionalProperties": NUM}), '{"x": {"a": 1}}', {"a": 1.0}, '{"x": []}', "x", "dict_type")
def mapping(x: Mapping[str, float]) -> object:
    return x


@row(obj("x", x={"type": "object", "additionalProperties": True}), '{"x": {"a": [1]}}', {"a": [1]}, '{"x": 1}', "x", "dict_type")
def bare_dictionary(x: dict[str, Any]) -> object:
    return x


@row(obj("x", x=STR | {"format": "date"}), '{"x": "2024-02-29"}', date(2024, 2, 29), '{"x": "2023-02-29"}', "x", "date_from_datetime_parsing")
def a_date(x: date) -> object:
    return x


@row(obj("x", x=STR | {"format": "date-time"}), '{"x": "2024-01-02T03:04:05Z"}', datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), '{"x": "soon"}', "x", "datetime_from_date_parsing")
def a_datetime(x: datetime) -> object:
    return x


@row(obj("x", x=STR | {"format": "time"}), '{"x": "03:04"}', time(3, 4), '{"x": "25:00"}', "x", "time_parsing")
def a_time(x: time) -> object:
    return x


@row(obj("x", x=STR | {"format": "duration"}), '{"x": "PT1H30M"}', timedelta(minutes=90), '{"x": "long"}', "x", "time_delta_parsing")
def a_duration(x: timedelta) -> object:
    return x


@row(obj("x", x=STR | {"format": "uuid"}), '{"x": "12345678-1234-5678-1234-567812345678"}', UUID("12345678-1234-5678-1234-567812345678"), '{"x": "1"}', "x", "uuid_parsing")
def a_uuid(x: UUID) -> object:
    return x


@row(obj("x", x=STR | {"format": "binary"}), '{"x": "é"}', b"\xc3\xa9", '{"x": 1}', "x", "bytes_type")
def some_bytes(x: bytes) -> object:
    return x


@row(obj("x", x=STR | {"format": "path"}), '{"x": "a/b"}', Path("a/b"), '{"x": 1}', "x", "path_type")
def a_path(x: Path) -> object:
    return x


@row(obj("x", defs={"Point": POINT}, x=ref("Point")), '{"x": {"x": 1}}', Point(1), '{"x": {"x": 1, "y": "a"}}', "x.y", "int_parsing")
def a_dataclass(x: Point) -> object:
    return x


@row(obj("s", defs={"Point": POINT, "Segment": SEGMENT}, s=ref("Segment")), '{"s": {"start": {"x": 1}, "ends": [{"x": 2}]}}', Segment(Point(1), [Point(2)]), '{"s": {"start": {"x": 1}, "ends": [{}]}}', "s.ends.0.x", "missing")
def nested_dataclasses(s: Segment) -> object:
    return s


@row(obj("", defs={"Point": POINT}, at=ref("Point") | {"default": {"x": 1, "y": 2}}), "{}", Point(1, 2), '{"at": 1}', "at", "dataclass_type")
def dataclass_by_default(at: Point = Point(1, 2)) -> object:  # noqa: B008 (a default that is an object is the point)
    return at


@row(obj("a b", defs={"Point": POINT}, a=ref("Point"), b=arr(ref("Point"))), '{"a": {"x": 1}, "b": []}', (Point(1), list[Point]()), '{"a": {}, "b": []}', "a.x", "missing")
def one_dataclass_twice(a: Point, b: list[Point]) -> object:
    return a, b


@row(obj("x", defs={"Film": model("title", title=STR, year=INT)}, x=ref("Film")), '{"x": {"title": "Metropolis"}}', {"title": "Metropolis"}, '{"x": {"year": 1927}}', "x.title", "missing")
def typed_dict(x: Film) -> object:
    return x


@row(obj("x", defs={"Options": model("limit", limit=INT, tag=STR)}, x=ref("Options")), '{"x": {"limit": 1}}', {"limit": 1}, '{"x": {"tag": "a"}}', "x.limit", "missing")
def partial_typed_dict(x: Options) -> object:
    return x


@row(obj("x", x=PAIR), '{"x": [1]}', Pair(1), '{"x": ["a"]}', "x.0", "int_parsing")
def named_tuple(x: Pair) -> object:
    return x


@row(obj("user", defs={"Address": ADDRESS, "User": USER}, user=ref("User")), '{"user": {"name": "A", "address": {"street": "s"}}}', User(name="A", address=Address(street="s")), '{"user": {"name": ""}}', "user.name", "string_too_short")
def nested_models(user: User) -> object:
    return user


@row(obj("x", defs={"Aliased": obj("type", type=STR)}, x=ref("Aliased")), '{"x": {"type": "a"}}', Aliased.model_validate({"type": "a"}), '{"x": {"type": "a", "kind": "b"}}', "x.kind", "extra_forbidden")
def model_with_alias(x: Aliased) -> object:
    return x


@row(obj("title book", defs={"Book": model("title", title=STR, properties=INT | {"default": 0})}, title=STR, book=ref("Book")), '{"title": "t", "book": {"title": "b"}}', ("t", Book(title="b")), '{"title": "t", "book": {}}', "book.title", "missing")
def parameter_and_field_named_title(title: str, book: Book) -> object:
    return title, book


@row(obj("node", defs={"Node": NODE}, node=ref("Node")), '{"node": {"value": 1, "children": [{"value": 2}]}}', Node(value=1, children=[Node(value=2)]), '{"node": {"value": 1, "children": [{}]}}', "node.children.0.value", "missing")
def recursive_model(node: Node) -> object:
    return node


@row(obj("tree", defs={"Tree": TREE}, tree=ref("Tree")), '{"tree": {"leaf": 1, "left": {"leaf": 2}}}', Tree(1, Tree(2)), '{"tree": {"leaf": 1, "left": {}}}', "tree.left.leaf", "missing")
def recursive_dataclass(tree: Tree) -> object:
    return tree


@row(obj("a", defs={"Node": NODE}, a=ref("Node"), b={"anyOf": [ref("Node"), NULL], "default": None}), '{"a": {"value": 1}}', (Node(value=1), None), '{"a": {"value": 1}, "b": {}}', "b.value", "missing")
def recursive_model_twice(a: Node, b: Node | None = None) -> object:
    return a, b


@row(obj("page", page=model("items", items=arr(INT), next={"anyOf": [INT, NULL], "default": None})), '{"page": {"items": [1]}}', Page[int](items=[1]), '{"page": {"items": ["a"]}}', "page.items.0", "int_parsing")
def generic_model(page: Page[int]) -> object:
    return page


@row(obj("pages", defs={"Page_Point_": model("items", items=arr(ref("Point")), next={"anyOf": [INT, NULL], "default": None}), "Point": POINT}, pages=arr(ref("Page_Point_"))), '{"pages": [{"items": [{"x": 1}]}]}', [Page[Point](items=[Point(1)])], '{"pages": [{"items": [{}]}]}', "pages.0.items.0.x", "missing")
def list_of_generic_models(pages: list[Page[Point]]) -> object:
    return pages


@row(obj("x", defs={"PutOff": model("x", x=INT)}, x=ref("PutOff")), '{"x": {"x": 1}}', PutOff(x=1), '{"x": {}}', "x.x", "missing")
def model_built_late(x: PutOff) -> object:
    return x


@row(obj("x", x=INT | {"minimum": 0, "exclusiveMaximum": 10, "multipleOf": 2}), '{"x": 8}', 8, '{"x": 10}', "x", "less_than")
def bounded_integer(x: Annotated[int, Field(ge=0, lt=10, multiple_of=2)]) -> object:
    return x


@row(obj("x", x=NUM | {"exclusiveMinimum": 0, "maximum": 1.5}), '{"x": 1.5}', 1.5, '{"x": 0}', "x", "greater_than")
def bounded_number(x: Annotated[float, Field(gt=0), Field(le=1.5)]) -> object:
    return x


@row(obj("x", x=STR | {"minLength": 2, "maxLength": 3, "pattern": "^[a-z]+$"}), '{"x": "ab"}', "ab", '{"x": "a1"}', "x", "string_pattern_mismatch")
def bounded_text(x: Annotated[str, Field(min_length=2, max_length=3, pattern="^[a-z]+$")]) -> object:
    return x


@row(obj("x", x=arr(INT, minItems=1, maxItems=2)), '{"x": [1]}', [1], '{"x": []}', "x", "too_short")
def bounded_list(x: Annotated[list[int], Field(min_length=1, max_length=2)]) -> object:
    return x


@row(obj("x", x=arr(INT | {"minimum": 1})), '{"x": [1]}', [1], '{"x": [1, 0]}', "x.1", "greater_than_equal")
def list_of_bounded(x: list[Annotated[int, Field(ge=1)]]) -> object:
    return x


@row(obj("x", x=INT | {"description": "How many."}), '{"x": 1}', 1, '{"x": null}', "x", "int_type")
def text_as_description(x: Annotated[int, "How many."]) -> object:
    return x


@row(obj("x", x=INT), '{"x": 1}', 1, '{"x": null}', "x", "int_type")
def metadata_of_others(x: Annotated[int, ["a list cannot be hashed"]]) -> object:
    return x


Count = Annotated[int, "Any count.", Field(ge=0)]


@row(obj("x", x=INT | {"minimum": 0, "description": "This one."}), '{"x": 1}', 1, '{"x": -1}', "x", "greater_than_equal")
def nearest_description(x: Annotated[Count, "This one."]) -> object:
    return x


@row(obj("x", x=INT | {"description": "From the field.", "examples": [3]}), '{"x": 1}', 1, '{"x": 1.5}', "x", "int_from_float")
def field_as_description(x: Annotated[int, Field(description="From the field.", title="T", examples=[3])]) -> object:
    return x


@row(obj("x", defs={"Point": POINT}, x=ref("Point") | {"description": "Where."}), '{"x": {"x": 1}}', Point(1), '{"x": null}', "x", "dataclass_type")
def described_dataclass(x: Annotated[Point, "Where."]) -> object:
    return x


@row(obj("", x=INT | {"default": 3, "minimum": 1}), "{}", 3, '{"x": 0}', "x", "greater_than_equal")
def field_as_default(x: int = Field(default=3, ge=1)) -> object:
    return x


@row(obj("x", x=INT | {"minimum": 1}), '{"x": 1}', 1, "{}", "x", "missing")
def field_without_default(x: int = Field(ge=1)) -> object:
    return x


@row(obj("", x=arr(INT)), "{}", [], '{"x": 1}', "x", "list_type")
def field_with_factory(x: list[int] = Field(default_factory=list[int])) -> object:  # noqa: B008 (the point)
    return x


@row(obj("", x=INT | {"default": 5}), "{}", 5, '{"x": "a"}', "x", "int_parsing")
def own_default_before_the_fields(x: Annotated[int, Field(default=3)] = 5) -> object:
    return x


@row(obj("", x=INT | {"default": 3}), "{}", 3, '{"x": "a"}', "x", "int_parsing")
def default_in_the_annotation(x: Annotated[int, Field(default=3)]) -> object:
    return x


@row(obj("from", **{"from": STR}), '{"from": "Rome"}', "Rome", '{"sender": "Rome"}', "from", "missing")
def alias(sender: Annotated[str, Field(alias="from")]) -> object:
    return sender


@row(obj("", **{"in": STR | {"default": "here"}}), '{"in": "there"}', "there", '{"in": 1}', "in", "string_type")
def validation_alias_with_default(place: Annotated[str, Field(validation_alias="in", alias="no")] = "here") -> object:
    return place


@row(obj("", on=STR | {"format": "date", "default": "2024-01-02"}, rate={"default": "1.5", "type": "string"}, path=STR | {"format": "path", "default": "here"}), "{}", (date(2024, 1, 2), "1.5", Path("here")), '{"on": 1.5}', "on", "date_from_datetime_inexact")
def defaults_with_a_json_form(on: date = date(2024, 1, 2), rate: str = "1.5", path: Path = Path("here")) -> object:
    return on, rate, path


@row(obj("", x=arr(STR, uniqueItems=True, default=["a", "b", "c"])), "{}", frozenset("abc"), '{"x": "a"}', "x", "frozen_set_type")
def set_by_default(x: frozenset[str] = frozenset("cab")) -> object:
    return x


@row(obj("", x=STR | {"default": None}), "{}", None, '{"x": null}', "x", "string_type")
def none_by_default_for_a_text(x: str = None) -> object:  # type: ignore[assignment] # noqa: RUF013 (as people write) # pyright: ignore[reportArgumentType]
    return x


NOTHING_GIVEN = SimpleNamespace()


@row(obj("", x={}), "{}", NOTHING_GIVEN, '{"y": 1}', "y", "extra_forbidden")
def default_that_json_cannot_say(x: Any = NOTHING_GIVEN) -> object:
    return x


@row(obj("x", x=STR, numbers=arr(INT)), '{"x": "a", "numbers": [1, 2]}', ("a", (1, 2)), '{"x": "a", "numbers": ["b"]}', "numbers.0", "int_parsing")
def star(x: str, *numbers: int) -> object:
    return x, numbers


@row(obj("", args=arr({})), "{}", (), '{"args": 1}', "args", "list_type")
def bare_star(*args: Any) -> object:
    return args


@row(obj("", extras=INT), '{"a": 1, "b": 2}', {"a": 1, "b": 2}, '{"a": "b"}', "a", "int_parsing")
def typed_stars(**sizes: int) -> object:
    return sizes


@row(obj("x", extras=True, x=INT), '{"x": 1, "y": [null]}', (1, {"y": [None]}), '{"y": 1}', "x", "missing")
def stars(x: int, **more: Any) -> object:
    return x, more


@row(obj("", defs={"Point": POINT}, extras=ref("Point")), '{"a": {"x": 1}}', {"a": Point(1)}, '{"a": {}}', "a.x", "missing")
def stars_of_dataclasses(**points: Point) -> object:
    return points


@row(obj("limit", limit=INT, tag=STR), '{"limit": 1}', {"limit": 1}, '{"tag": "a"}', "limit", "missing")
def stars_of_a_typed_dict(**options: Unpack[Options]) -> object:
    return options


@row(obj("x title", x=INT, title=STR, year=INT), '{"x": 1, "title": "t"}', (1, {"title": "t"}), '{"x": 1, "title": "t", "z": 1}', "z", "extra_forbidden")
def stars_of_a_typed_dict_of_the_extensions(x: int, **film: typing_extensions.Unpack[Film]) -> object:
    return x, film


@row(obj("a", a=INT, b=INT | {"default": 2}), '{"a": 1}', (1, 2), '{"b": 1}', "a", "missing")
def positional_only(a: int, b: int = 2, /) -> object:
    return a, b


@row(obj("a b", a=INT, b=STR), '{"b": "x", "a": 1}', (1, "x"), '{"a": 1}', "b", "missing")
def keyword_only(*, a: int, b: str) -> object:
    return a, b


@row(obj("a d", extras=BOOL, a=INT, b=INT | {"default": 2}, c=INT | {"default": 3}, rest=arr(STR), d=NUM, e=STR | {"default": "e"}), '{"d": 1, "rest": ["x"], "a": 1, "f": true}', (1, 2, 3, ("x",), 1.0, "e", {"f": True}), '{"a": 1, "d": 1, "f": "perhaps"}', "f", "bool_parsing")
def every_kind(a: int, b: int = 2, /, c: int = 3, *rest: str, d: float, e: str = "e", **more: bool) -> object:
    return a, b, c, rest, d, e, more


@row(obj(), "{}", "done", '{"x": 1}', "x", "extra_forbidden")
def no_parameters() -> object:
    return "done"


@row(obj("x", x={}), '{"x": {"a": null}}', {"a": None}, "{}", "x", "missing")
def anything(x: Any) -> object:
    return x


@row(obj("x", x={}), '{"x": [1]}', [1], "{}", "x", "missing")
def any_object(x: object) -> object:
    return x


row(obj("x", x={}, y={"default": 2}), '{"x": "1"}', ("1", 2), '{"y": 1}', "x", "missing")(made("def no_annotations(x, y=2): return x, y"))
row(obj("x", x={"description": "D."}), '{"x": 2}', 2, "{}", "x", "missing")(made("def no_annotations_with_field(x=Field(description='D.')): return x", Field=Field))
row(obj("x", x={}), '{"x": 1}', 1, "{}", "x", "missing")(made("def type_variable(x: T): return x", T=Item))
row(obj("x", defs={"Later": model("a", a=INT)}, x=arr(ref("Later"))), '{"x": [{"a": 1}]}', "[Later(a=1)]", '{"x": [1]}', "x.0", "model_type")(made("class Later(BaseModel):\n  a: int\ndef forward_reference(x: 'list[Later]'): return repr(x)", BaseModel=BaseModel))


@row(obj("x", x=arr(INT)), '{"x": [1]}', [1], '{"x": ["a"]}', "x.0", "int_parsing")
def text_within_the_annotation(x: "list['int']") -> object:
    return x


CITY = model("name", name=STR)
row(
    obj("city", defs={"City": CITY}, city=ref("City"), days=INT | {"minimum": 1, "default": 2}, on={"anyOf": [STR | {"format": "date"}, NULL], "default": None}),
    '{"city": {"name": "Rome"}, "on": "2024-01-02"}',
    (future_annotations.City(name="Rome"), 2, date(2024, 1, 2)),
    '{"city": {"name": "Rome"}, "days": 0}',
    "days",
    "greater_than_equal",
)(future_annotations.book)
row(obj("place", defs={"Place": model("name", name=STR, inside={"anyOf": [ref("Place"), NULL], "default": None})}, place=ref("Place")), '{"place": {"name": "a"}}', future_annotations.Place(name="a"), '{"place": {"name": "a", "inside": {}}}', "place.inside.name", "missing")(future_annotations.later)


@row(obj("x", x=INT), '{"x": 3}', 6, '{"x": 4}', "x", "value_error")
def own_validator(x: Annotated[int, AfterValidator(lambda x: 2 * x if x % 2 else int("an even number"))]) -> object:
    return x


@row(obj("x", x=STR | {"format": "iban"}), '{"x": 12}', "12", '{"x": [1]}', "x", "string_type")
def own_json_schema(x: Annotated[str, BeforeValidator(lambda x: str(x) if isinstance(x, int) else x), WithJsonSchema({"type": "string", "format": "iban", "title": "T"})]) -> object:
    return x


def row_id(case: Row) -> str:
    return callable_name(case.function)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and of the same types, all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if type(one) in (list, tuple):
        return all(alike(*pair) for pair in zip(one, other, strict=True))
    return type(one) not in (dict, collections.OrderedDict) or all(alike(one[key], other[key]) for key in one)


def called(made: Tool, call: str) -> object:
    args, kwargs = made.arguments.bind(made.arguments.validate(call))
    return made.function(*args, **kwargs)


def errors_of(made: Tool, call: str) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        made.arguments.validate(call)
    return [(".".join(map(str, each["loc"])), each["type"]) for each in caught.value.errors()]


def test_there_are_many_signatures() -> None:
    assert len(ROWS) >= 80
    assert len({row_id(each) for each in ROWS}) == len(ROWS)


@pytest.mark.parametrize("case", ROWS, ids=row_id)
def test_schema(case: Row) -> None:
    schema = Tool.of(case.function).arguments.schema
    assert schema == case.schema
    assert list(cast("Schema", schema["properties"])) == list(case.schema["properties"])
    assert titles(schema) == []


@pytest.mark.parametrize("case", ROWS, ids=row_id)
def test_call(case: Row) -> None:
    made = Tool.of(case.function)
    for _ in range(2):
        received = called(made, case.call)
        assert alike(received, case.received), f"{received!r} is not {case.received!r}"
    assert (case.where, case.error) in errors_of(made, case.bad)


def test_decimals() -> None:
    def pay(amount: Decimal = Decimal("1.50")) -> object:
        return amount

    made = Tool.of(pay)
    schema = cast("Schema", made.arguments.schema["properties"])["amount"]
    assert schema["anyOf"][0] == NUM
    assert schema["anyOf"][1]["type"] == "string"
    assert schema["default"] == "1.50"
    assert alike(called(made, '{"amount": "2.50"}'), Decimal("2.50"))
    assert alike(called(made, '{"amount": 2.5}'), Decimal("2.5"))
    assert errors_of(made, '{"amount": "much"}') == [("amount", "decimal_parsing")]


def test_two_types_of_one_name_are_told_apart() -> None:
    source = "def compare(a: A, b: 'Annotated[list[B], \"Several.\"]', c: Annotated[int, Field(alias='see')] = 1, **more: B): return a, b, c, more"
    made_of_two = Tool.of(made(source, A=TwinA, B=TwinB, Annotated=Annotated, Field=Field))
    schema = made_of_two.arguments.schema
    assert sorted(cast("Schema", schema["$defs"]).values(), key=repr) == [model("a", a=INT), model("b", b=STR)]
    properties = cast("Schema", schema["properties"])
    assert properties["b"]["description"] == "Several."
    assert properties["see"] == INT | {"default": 1}
    assert schema["additionalProperties"] == properties["b"]["items"]
    assert called(made_of_two, '{"a": {"a": 1}, "b": [{"b": "x"}], "k": {"b": "y"}}') == (TwinA(a=1), [TwinB(b="x")], 1, {"k": TwinB(b="y")})
    assert errors_of(made_of_two, '{"a": {"b": "x"}, "b": [{"a": 1}]}') == [("a.a", "missing"), ("b.0.b", "missing")]


def test_a_model_with_an_inner_one_of_its_own_name() -> None:
    outer = same_name(inner=TwinA)
    made_of_both = Tool.of(made("def take(x: Outer): return x", Outer=outer))
    properties, defs = (cast("Schema", made_of_both.arguments.schema[key]) for key in ("properties", "$defs"))
    fields = defs[properties["x"]["$ref"].removeprefix("#/$defs/")] if "$ref" in properties["x"] else properties["x"]
    assert defs[fields["properties"]["inner"]["$ref"].removeprefix("#/$defs/")] == model("a", a=INT)
    assert called(made_of_both, '{"x": {"inner": {"a": 1}}}') == outer(inner=TwinA(a=1))


def test_a_discriminator_that_maps_a_title() -> None:
    class Title(BaseModel):
        kind: Literal["title"]

    class Body(BaseModel):
        kind: Literal["body"]

    def write(part: Annotated[Title | Body, Field(discriminator="kind")]) -> object:
        return part

    mapping = cast("Schema", Tool.of(write).arguments.schema["properties"])["part"]["discriminator"]["mapping"]
    assert mapping == {"title": "#/$defs/Title", "body": "#/$defs/Body"}


def titles(schema: object, *, names: bool = False) -> list[object]:
    """Find the `title` keywords; below `properties` and `$defs` the keys are names."""
    if isinstance(schema, list):
        return [each for item in cast("list[object]", schema) for each in titles(item)]
    found: list[object] = []
    for key, value in cast("Schema", schema).items() if isinstance(schema, dict) else ():
        found += ["title"] if key == "title" and not names else []
        if key not in ("default", "examples"):
            found += titles(value, names=key in ("properties", "$defs") and not names)
    return found


# fmt: on
# ------------------------------------------------------------------------------------------------ local and late types


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
    assert repr(value).endswith(
        "Line(start=of_local_types.<locals>.Point(x=1), end=of_local_types.<locals>.Point(x=2))"
    )


def test_a_local_type_hides_that_of_the_module() -> None:
    assert errors_of(future_annotations.of_shadowing_type(), '{"city": {"name": "Rome"}}') == [("city.code", "missing")]


def test_a_method_that_names_its_own_class() -> None:
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

    with pytest.raises(
        UnresolvedName, match=r"buy, parameter 'item': 'Ware' is not defined where the function is; define it"
    ):
        Tool.of(buy)

    class Ware(BaseModel):
        name: str

    for function in (buy, Shop().sell):
        assert called(Tool.of(function), '{"item": {"name": "tea"}}') == Ware(name="tea")
        assert Tool.of(function).arguments is Tool.of(function).arguments


def test_a_model_with_a_field_that_is_defined_later() -> None:
    class Order(BaseModel):
        ware: "Missing"  # type: ignore[name-defined] # noqa: F821 (the point) # pyright: ignore[reportUndefinedVariable, reportUnknownVariableType]

    def place(order: Order) -> object:
        return order

    with pytest.raises(UnresolvedName, match=r"place, parameter 'order': .*Order.*not fully defined"):
        Tool.of(place)


# --------------------------------------------------------------------------------------------------------- callables


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


def logged(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> object:
        return function(*args, **kwargs)

    return wrapper


class Wrapped:
    @tool
    @logged
    def marked_outside(self, speed: int) -> object:
        return speed

    @logged
    @tool
    def marked_inside(self, speed: int) -> object:
        return speed

    @tool
    def named_otherwise(this, speed: int) -> object:  # noqa: N805 (the point) # pyright: ignore[reportSelfClsParameterName]
        return speed


async def waits(speed: int) -> object:
    return speed


def yields(speed: int) -> Iterable[object]:
    yield speed


async def yields_and_waits(speed: int) -> collections.abc.AsyncIterator[object]:
    yield speed


def two(factor: int, speed: int) -> object:
    """Multiply.

    Args:
        factor: By what.
        speed: How fast.
    """
    return factor * speed


@tool(name="times", timeout=2)
def marked_two(factor: int, speed: int) -> object:
    """Multiply.

    Args:
        factor: By what.
        speed: How fast.
    """
    return factor * speed


SPEED = obj("speed", speed=INT)
TOLD = obj("speed", speed=INT | {"description": "How fast."})

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
    ("wrapped method, marked outside", Wrapped().marked_outside, "marked_outside", SPEED, "sync", ""),
    ("wrapped method, marked inside", Wrapped().marked_inside, "marked_inside", SPEED, "sync", ""),
    ("method without a self", Wrapped().named_otherwise, "named_otherwise", SPEED, "sync", ""),
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
    ("partial of a marked tool", functools.partial(marked_two, 2), "times", TOLD, "sync", "Multiply."),
    ("partial of an async function", functools.partial(waits), "waits", SPEED, "async", ""),
    ("partial of a callable object", functools.partial(Machine(2)), "Machine", TOLD, "sync", "A machine."),
    ("partial of a method", functools.partial(Machine(2).method), "method", TOLD, "sync", "Run."),
    ("partial of a class", functools.partial(Point, 1), "Point", obj("", y=INT | {"default": 0}), "sync", "Point(x: int, y: int = 0)"),
    ("wrapped function", logged(two), "two", obj("factor speed", factor=INT | {"description": "By what."}, **TOLD["properties"]), "sync", "Multiply."),
    ("cached function", functools.lru_cache(two), "two", obj("factor speed", factor=INT | {"description": "By what."}, **TOLD["properties"]), "sync", "Multiply."),
    ("builtin", math.sqrt, "sqrt", obj("x", x={}), "sync", "Return the square root of x."),
    ("builtin of an object", "a".upper, "upper", obj(), "sync", "Return a copy of the string converted to uppercase."),
]
# fmt: on


@pytest.mark.parametrize(
    ("function", "name", "schema", "flavour", "description"),
    [each[1:] for each in CALLABLES],
    ids=[each[0] for each in CALLABLES],
)
def test_callables(function: Callable[..., object], name: str, schema: Schema, flavour: str, description: str) -> None:
    made = Tool.of(function)
    assert (made.name, made.arguments.schema, made.flavour, made.spec.description) == (
        name,
        schema,
        flavour,
        description,
    )
    assert made.function == function
    assert not made.unbound


CALLED = [each for each in CALLABLES if each[4] == "sync" and each[3] == SPEED | TOLD]


@pytest.mark.parametrize("function", [each[1] for each in CALLED], ids=[each[0] for each in CALLED])
def test_callables_are_called(function: Callable[..., object]) -> None:
    assert called(Tool.of(function), '{"speed": 4}') in (4, 8)


def test_a_lambda_with_a_name() -> None:
    double: Callable[[int], int] = lambda x: 2 * x  # noqa: E731 (the point)
    made = Tool.of(double, name="double", description="Double it.")
    assert (made.name, made.spec.description, called(made, '{"x": 2}')) == ("double", "Double it.", 4)
    assert called(Tool.of(tool(name="also")(double)), '{"x": 2}') == 4


def test_what_a_partial_has_bound_cannot_be_given() -> None:
    def search(query: str, **filters: Any) -> object:
        return query, filters

    made = Tool.of(functools.partial(search, tenant="mine"))
    assert called(made, '{"query": "q", "page": 1}') == ("q", {"tenant": "mine", "page": 1})
    assert errors_of(made, '{"query": "q", "tenant": "theirs"}') == [("tenant", "extra_forbidden")]
    assert errors_of(Tool.of(functools.partial(two, factor=2)), '{"factor": 1, "speed": 1}') == [
        ("factor", "extra_forbidden")
    ]


def test_an_alias_cannot_be_passed_by() -> None:
    def take(size: Annotated[int, Field(alias="length", ge=0)], **more: Any) -> object:
        return size, more

    for call in ('{"length": 1, "size": -5}', '{"size": -5, "length": 1}'):
        assert called(Tool.of(take), call) == (1, {})


# ------------------------------------------------------------------------------------------------------------- errors


class Connection: ...


class Hooked:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        raise RuntimeError("the hook is broken")


# fmt: off
UNSUPPORTED: list[tuple[object, str]] = [
    (Connection, r"Connection cannot be told to a model as JSON \(Unable to generate pydantic-core schema for <class '.*Connection'>\)"),
    (Callable[[int], str], r"Callable\[\[int\], str\] cannot be told to a model as JSON"),
    (type, r"type cannot be told to a model as JSON"),
    (sys, r"<module 'sys' \(built-in\)> cannot be told to a model as JSON"),
    (IO[str], r" cannot be told to a model as JSON"),
    (list[Connection], r"list\[.*Connection\] cannot be told to a model as JSON"),
    (5, r"5 cannot be told to a model as JSON"),
    (Hooked, r"Hooked cannot be told to a model as JSON \(the hook is broken\)"),
    (Literal[()], r"Literal\[\(\)\] cannot be told to a model as JSON"),
    ("the city's name", r'"the city\'s name" is not a type .*; a description goes into the docstring, or beside the type, as Annotated\[str, "the description"\]'),
    ("sys.nothing", r"'sys.nothing' is not a type"),
    ("Nowhere", r"'Nowhere' is not defined where the function is; define it \(at the top level of the module"),
]
# fmt: on


@pytest.mark.parametrize(("annotation", "message"), UNSUPPORTED, ids=[repr(each[0]) for each in UNSUPPORTED])
def test_an_unsupported_annotation(annotation: object, message: str) -> None:
    def use(city: str, thing: int) -> object:
        return city, thing

    use.__annotations__["thing"] = annotation
    with pytest.raises(
        ToolDefinitionError, match=rf"^test_an_unsupported_annotation.<locals>.use, parameter 'thing': \S*{message}"
    ) as caught:
        Tool.of(use)
    assert "arbitrary_types_allowed" not in str(caught.value)


def test_an_unsupported_annotation_names_the_way_out() -> None:
    with pytest.raises(
        ToolDefinitionError, match=r"Annotate it with a type that has a JSON form, .*functools\.partial"
    ):

        @tool
        def use(connection: Connection) -> object:  # pyright: ignore[reportUnusedFunction]
            return connection


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes it from Python 3.12 on")
@pytest.mark.parametrize("annotation", [OldFilm, list[OldFilm]])
def test_the_typed_dict_of_typing(annotation: object) -> None:
    def use(film: object) -> object:
        return film

    use.__annotations__["film"] = annotation
    with pytest.raises(
        ToolDefinitionError,
        match=r"use, parameter 'film': before Python 3\.12, import TypedDict from typing_extensions, not from typing",
    ):
        Tool.of(use)


@pytest.mark.parametrize("function", [max, math.hypot])
def test_a_builtin_without_a_signature(function: Callable[..., object]) -> None:
    with pytest.raises(
        ToolDefinitionError,
        match=r"(max|hypot) has no signature that can be read; wrap it in a function with annotated parameters",
    ):
        Tool.of(function)


def test_two_parameters_of_one_name() -> None:
    def use(a: Annotated[int, Field(alias="b")], b: int) -> object:
        return a, b

    with pytest.raises(ToolDefinitionError, match=r"use: two parameters have the name 'b'; give one another alias"):
        Tool.of(use)


# ---------------------------------------------------------------------------------------------------------------- laws

SIMPLE: list[Any] = [
    int,
    float,
    str,
    bool,
    None,
    Literal["a", "b"],
    Literal[1, "1"],
    Unit,
    Level,
    date,
    UUID,
    Point,
    Film,
    Node,
    User,
    Book,
    Pair,
    Pet,
    Annotated[int, Field(ge=-3, lt=40)],
    Annotated[str, Field(min_length=1, max_length=3)],
]
LIST, DICT, TUPLE, UNION, ANNOTATED = cast("tuple[Any, ...]", (list, dict, tuple, Union, Annotated))
annotations: SearchStrategy[Any] = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: (
        inner.map(lambda each: LIST[each])
        | inner.map(lambda each: DICT[str, each])
        | inner.map(lambda each: TUPLE[each, ...])
        | inner.map(lambda each: UNION[each, None])
        | inner.map(lambda each: ANNOTATED[LIST[each], Field(max_length=2)])
        | st.tuples(inner, inner).map(lambda pair: TUPLE[pair])
        | st.tuples(inner, inner).map(lambda pair: UNION[pair])
    ),
    max_leaves=4,
)
FORMATS = {"date": st.dates().map(str), "uuid": st.uuids().map(str)}


def values(  # noqa: C901, PLR0911, PLR0912 (one case for each kind of schema)
    schema: Schema, defs: Schema, depth: int = 0
) -> SearchStrategy[Any]:
    """Make values that fit a JSON schema, as far as the types above need it."""
    if "$ref" in schema:
        return st.deferred(lambda: values(defs[schema["$ref"].removeprefix("#/$defs/")], defs, depth + 1))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if branches := schema.get("anyOf", schema.get("oneOf")):
        shallow = [each for each in branches if each == NULL] if depth > 3 else []
        return st.one_of([values(each, defs, depth) for each in shallow or branches])
    match schema.get("type"):
        case "integer":
            return st.integers(schema.get("minimum", -(10**20)), schema.get("exclusiveMaximum", 10**20 + 1) - 1)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return FORMATS.get(
                schema.get("format", ""),
                st.text(
                    st.characters(exclude_categories=["Cs"]),
                    min_size=schema.get("minLength", 0),
                    max_size=schema.get("maxLength", 5),
                ),
            )
        case "array" if "prefixItems" in schema:
            return st.tuples(*[values(each, defs, depth + 1) for each in schema["prefixItems"]]).map(list)
        case "array":
            return st.lists(
                values(schema["items"], defs, depth + 1), max_size=0 if depth > 3 else min(2, schema.get("maxItems", 2))
            )
        case _ if "properties" in schema:
            required, properties = schema.get("required", []), schema["properties"]
            made = {name: values(each, defs, depth + 1) for name, each in properties.items()}
            return st.fixed_dictionaries(
                {name: made[name] for name in required},
                optional={name: each for name, each in made.items() if name not in required},
            )
        case _:
            return st.dictionaries(
                st.text("ab", max_size=2),
                values(schema["additionalProperties"], defs, depth + 1),
                max_size=0 if depth > 3 else 2,
            )


@st.composite
def signatures(draw: st.DrawFn) -> Callable[..., object]:
    drawn = draw(st.lists(annotations, max_size=3))
    source = ", ".join(
        f"p{number}: a{number}{draw(st.sampled_from(['', ' = None'])) if number == len(drawn) - 1 else ''}"
        for number in range(len(drawn))
    )
    return made(f"def function({source}): return locals()", **{f"a{number}": each for number, each in enumerate(drawn)})


@given(signatures(), st.data())
def test_the_schema_says_the_same_as_the_validator(function: Callable[..., object], data: st.DataObject) -> None:
    made = Tool.of(function)
    schema = made.arguments.schema
    value = data.draw(values(schema, cast("Schema", schema.get("$defs", {}))))
    received = made.arguments.validate(to_json(value))
    assert received.keys() == value.keys()
    for name in cast("list[str]", schema.get("required", [])):
        less = {key: each for key, each in value.items() if key != name}
        assert errors_of(made, to_json(less).decode()) == [(name, "missing")]
    assert errors_of(made, to_json(value | {"other": 1}).decode()) == [("other", "extra_forbidden")]


@given(annotations)
def test_a_schema_is_plain_json_and_always_the_same(annotation: Any) -> None:
    function = made("def function(x: a): return x", a=annotation)
    schema = Tool.of(function).arguments.schema
    assert from_json(to_json(schema)) == schema
    assert to_json(schema) == to_json(Tool.of(function).arguments.schema)
    assert titles(schema) == []
