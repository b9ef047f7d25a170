import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Json
from typing_extensions import TypeAliasType, TypedDict

from agentkit import ConfigurationError, Tool
from agentkit.testing import sample
from agentkit.testing.schema_samples import Schema


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


class Chain(BaseModel):
    next: "Chain | None" = Field(description="What follows.")
    last: "Chain | int" = Field(3, description="What ends it.")


class Pair(BaseModel):
    left: "Even"


class Even(BaseModel):
    odd: "list[Odd]" = Field(min_length=1)


class Odd(BaseModel):
    even: "Even | None"
    more: "dict[str, Even]" = {}


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"]
    name: str = Field(min_length=3, max_length=5)


@dataclass
class Place:
    city: str
    near: "list[Place]" = field(default_factory=list["Place"])


class Sides(TypedDict, total=False):
    left: int
    right: Sequence[float]


class Point(NamedTuple):
    x: int
    y: float = 0


TREE = TypeAliasType("TREE", "int | list[TREE]")
KINDS: list[Any] = [
    *(str, int, float, bool, None, Any, dict, list, tuple, set, bytes, Json[list[int]]),
    *(date, datetime, time, timedelta, Decimal, uuid.UUID, Path),
    *(pydantic.JsonValue, pydantic.SecretStr, pydantic.AwareDatetime, pydantic.UUID1, pydantic.UUID4),
    *(pydantic.Base64Str, pydantic.FilePath, pydantic.DirectoryPath, pydantic.AnyUrl, pydantic.HttpUrl),
    *(pydantic.IPvAnyAddress, IPv4Address, IPv4Network, IPv4Interface, IPv6Address, IPv6Network, IPv6Interface),
    *(Colour, Tree, Chain, Pair, Cat | Dog, Annotated[Cat | Dog, Discriminator("kind")], Place, Sides, Point, TREE),
    *(Literal["a", 3] | None, Literal["only"], Mapping[str, Tree], dict[int, str], dict[Colour, int], dict[date, int]),
    Annotated[dict[str, int], Field(min_length=3)],
    Annotated[dict[uuid.UUID, Any], Field(min_length=2)],
    Annotated[dict[Annotated[str, Field(pattern="^k")], int], Field(min_length=3)],
    *(tuple[int, str], tuple[int, ...], tuple[()], tuple[Tree, Chain]),
    Annotated[int, Field(gt=3, lt=5)],
    Annotated[int, Field(gt=-9, le=-5, multiple_of=4)],
    Annotated[float, Field(gt=0.1, lt=0.2)],
    Annotated[float, Field(ge=0.3, le=0.3)],
    Annotated[float, Field(multiple_of=0.1, gt=0.5)],
    Annotated[float, Field(lt=-1e30)],
    Annotated[Decimal, Field(max_digits=4, decimal_places=2, gt=0)],
    Annotated[set[int], Field(min_length=7)],
    Annotated[set[Annotated[int, Field(lt=0)]], Field(min_length=7)],
    Annotated[set[Annotated[float, Field(ge=0, le=1)]], Field(min_length=7)],
    Annotated[set[Annotated[str, Field(max_length=1)]], Field(min_length=7)],
    Annotated[set[date], Field(min_length=3)],
    Annotated[set[Colour], Field(min_length=2)],
    Annotated[frozenset[Colour | bool | None], Field(min_length=5)],
    Annotated[frozenset[tuple[bool, Colour]], Field(min_length=2)],
    Annotated[str, Field(pattern="^[A-Z]{3}-[0-9]{4}$", examples=["ABC-1234"])],
    Annotated[str, Field(pattern="^[a-f]+$", min_length=9, max_length=9)],
    Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")],
    Annotated[set[Annotated[str, Field(pattern=r"^\d$")]], Field(min_length=10)],
    Optional[Annotated[str, Field(pattern="^[A-Z]{3}-[0-9]{4}$")]],  # noqa: UP045 (types know no | here)
]


def check(kind: Any) -> None:
    def use(value: Any, other: Any = None) -> None:
        """Use a value."""

    use.__annotations__ = {"value": kind, "other": kind, "return": None}
    tool = Tool.of(use)
    made = sample(tool.spec.parameters)
    assert {"value", "other"} == made.keys()
    tool.arguments.validate(json.dumps(made))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_sample_fits_its_tool(kind: Any) -> None:
    check(kind)


NUMBERS = st.integers(-50, 50)


@st.composite
def bounded(draw: st.DrawFn, kind: type[int | float]) -> Any:
    """An annotation with bounds around a number that fits all of them."""
    fitting = draw(NUMBERS)
    bounds: dict[str, float] = {}
    if draw(st.booleans()):
        bounds[draw(st.sampled_from(["ge", "gt"]))] = fitting - draw(st.integers(1, 9))
    if draw(st.booleans()):
        bounds[draw(st.sampled_from(["le", "lt"]))] = fitting + draw(st.integers(1, 9))
    if draw(st.booleans()):
        bounds["multiple_of"] = draw(st.sampled_from([1, abs(fitting) or 1] if kind is int else [0.5, 0.25]))
    field: Any = Field
    return Annotated[kind, field(**bounds)]


@st.composite
def texts(draw: st.DrawFn) -> Any:
    shortest = draw(st.integers(0, 20))
    return Annotated[str, Field(min_length=shortest, max_length=draw(st.none() | st.integers(shortest, 25)))]


LEAVES = st.one_of(st.sampled_from(KINDS), bounded(int), bounded(float), texts())


def composed(kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    makers: list[Any] = [list, tuple, dict, TypedDict]
    (a_list, a_tuple, a_dict, an_object), fewest = makers, st.integers(0, 3)
    return st.one_of(
        kinds.map(lambda kind: a_list[kind]),
        st.tuples(kinds, fewest).map(lambda of: Annotated[a_list[of[0]], Field(min_length=of[1], max_length=3)]),
        st.tuples(kinds, kinds).map(lambda of: a_tuple[of]),
        kinds.map(lambda kind: a_dict[str, kind]),
        st.tuples(kinds, kinds).map(lambda of: of[0] if None in of else of[0] | of[1]),
        kinds.map(lambda kind: an_object("Made", {"one": kind})),
    )


@given(st.recursive(LEAVES, composed, max_leaves=5))
@settings(max_examples=50, deadline=None)
def test_a_sample_fits_whatever_is_composed(kind: Any) -> None:
    check(kind)


ONE: Schema = {"$ref": "#/$defs/two"}
TWO: Schema = {"properties": {"x": {"type": "integer"}}, "required": ["x"]}
DEFS = {"one": ONE, "two": TWO, "three": {"required": ["y"]}}
RAW: list[tuple[Schema, Any]] = [
    ({"type": "integer", "minimum": 3, "exclusiveMaximum": 4}, 3),
    ({"type": "integer", "multipleOf": 1.5, "minimum": 4}, 6),
    ({"type": "integer", "maximum": -2}, -2), ({"type": ["null", "string"]}, None), ({"enum": [1, 2]}, 1),
    ({"const": None}, None),
    ({"properties": {"a": {"type": "integer"}}, "required": ["a", "b"]}, {"a": 3, "b": "text"}),
    ({"allOf": [{"type": "integer", "minimum": 3}, {"minimum": 5, "maximum": 9}, {"maximum": 6}]}, 5),
    ({"allOf": [{"allOf": [{"type": "integer", "minimum": 4}]}, {"allOf": [{"minimum": 5}]}]}, 5),
    ({"allOf": [{"type": "string", "title": "a"}, {"title": "b"}]}, "text"),
    ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3]}]}, 2),
    ({"allOf": [{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/three"}], "properties": {"x": {"minimum": 9}}, "$defs": DEFS}, {"x": 9, "y": "text"}),
    ({"oneOf": [{"minLength": 8}, {"maxLength": 2}], "type": "string"}, "textxxxx"),
    ({"anyOf": [True]}, "text"),
    ({"$ref": "#/definitions/b", "maxLength": 2, "definitions": {"b": {"type": "string"}}}, "aa"),
    ({"type": "string", "format": "hostname"}, "text.example.com"),
    ({"type": "string", "format": "unheard-of"}, "text"),
    ({"type": "string", "format": "date-time"}, "2026-12-01T12:00:00Z"),
    ({"type": "string", "pattern": "^B[0-9]{4}$", "default": "B1234"}, "B1234"),
    ({"items": {"type": "integer"}}, [3]), ({"type": "array", "items": False}, []),
    ({"properties": {"a": True}, "minProperties": 3}, {"a": "text", "1": "text", "2": "text1"}),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value"), RAW, ids=str)
def test_a_sample_of_a_schema(schema: Schema, value: object) -> None:
    assert sample(schema) == sample(schema) == value


UNCOMMON = "^[A-Z]{3}-[0-9]{4}$"
NODE: Schema = {"$ref": "#/$defs/a"}


@pytest.mark.parametrize("schema", [
    {**NODE, "$defs": {"a": NODE}},
    {**NODE, "$defs": {"a": {"type": "object", "properties": {"a": NODE}, "required": ["a"]}}},
    {**NODE, "$defs": {"a": {"allOf": [NODE]}}}, {**NODE, "$defs": {"a": {"anyOf": [NODE]}}},
    {**NODE, "$defs": {"a": {"type": "object", "additionalProperties": NODE, "minProperties": 1}}},
    {**NODE, "$defs": {"a": {"type": "array", "items": NODE, "minItems": 1}}},
    {"$ref": "#/$defs/b"},
    {"$ref": "elsewhere"}, {"allOf": [{"enum": [1]}, {"enum": [2]}]}, {"type": "thing"},
    {"type": "integer", "minimum": 3, "maximum": 2},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2, "multipleOf": 2},
    {"type": "number", "minimum": 3, "exclusiveMaximum": 3},
    {"type": "array", "items": {"type": "null"}, "minItems": 2, "uniqueItems": True},
    {"type": "object", "minProperties": 2, "propertyNames": {"const": "a"}},
    {"type": "string", "pattern": "("}, {"type": "string", "pattern": UNCOMMON},
], ids=str)  # fmt: skip
def test_no_sample_fits(schema: Schema) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sample(schema)
    if schema.get("pattern") == UNCOMMON:
        assert "EveryTool(arguments=" in str(caught.value)


NODES: Schema = {"type": "array", "items": NODE}


@pytest.mark.parametrize(("node", "value"), [
    ({"type": "object", "properties": {"next": NODE, "all": NODES}, "additionalProperties": NODE}, {"all": []}),
    ({"type": "object", "additionalProperties": NODE}, {}),
    ({"type": "array", "items": {"anyOf": [NODE, {"type": "null"}]}, "minItems": 1}, [None]),
])  # fmt: skip
def test_recursion_ends_where_it_may(node: Schema, value: object) -> None:
    assert sample({**NODE, "$defs": {"a": node}}) == value
