import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    UUID1,
    UUID4,
    AnyUrl,
    AwareDatetime,
    Base64Str,
    BaseModel,
    ConfigDict,
    DirectoryPath,
    Discriminator,
    Field,
    FilePath,
    HttpUrl,
    IPvAnyAddress,
    Json,
    JsonValue,
    SecretStr,
)
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
    next: "Chain | None"


class Told(BaseModel):
    next: "Told | None" = Field(None, description="What follows.")
    last: "Told | int" = Field(3, description="What ends it.")


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
    *(str, int, float, bool, None, Any, JsonValue, dict, list, tuple, set, date, datetime, time, timedelta, Decimal),
    *(
        uuid.UUID,
        UUID1,
        UUID4,
        bytes,
        Path,
        FilePath,
        DirectoryPath,
        AnyUrl,
        HttpUrl,
        IPvAnyAddress,
        SecretStr,
        Base64Str,
    ),
    *(IPv4Address, IPv4Network, IPv4Interface, IPv6Address, IPv6Network, IPv6Interface, AwareDatetime, Json[list[int]]),
    *(
        Colour,
        Tree,
        Chain,
        Told,
        Pair,
        Cat | Dog,
        Annotated[Cat | Dog, Discriminator("kind")],
        Place,
        Sides,
        Point,
        TREE,
    ),
    *(Literal["a", 3] | None, Literal["only"], Mapping[str, Tree], dict[int, str], dict[Colour, int], dict[date, int]),
    Annotated[dict[str, int], Field(min_length=3)],
    Annotated[dict[uuid.UUID, Any], Field(min_length=2)],
    Annotated[dict[Annotated[str, Field(pattern="^k[0-9]$")], int], Field(min_length=3)],
    *(tuple[int, str], tuple[int, ...], tuple[()], tuple[Tree, Chain]),
    Annotated[int, Field(gt=3, lt=5)],
    Annotated[int, Field(gt=-9, le=-5, multiple_of=4)],
    Annotated[float, Field(gt=0.1, lt=0.2)],
    Annotated[float, Field(ge=0.3, lt=0.31)],
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
    Annotated[str, Field(pattern="^[A-Z]{3}-[0-9]{4}$")],
    Annotated[str, Field(min_length=9, max_length=9, pattern="^[a-f]+$")],
    Annotated[set[Annotated[str, Field(pattern=r"^\d$")]], Field(min_length=10)],
]


def tool_of(kind: Any) -> Tool:
    def use(value: Any, other: Any = None) -> None:
        """Use a value."""

    use.__annotations__ = {"value": kind, "other": kind, "return": None}
    return Tool.of(use)


def check(kind: Any) -> None:
    tool = tool_of(kind)
    made = sample(tool.spec.parameters)
    assert {"value", "other"} == made.keys()
    tool.arguments.validate(json.dumps(made))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_sample_fits_its_tool(kind: Any) -> None:
    check(kind)


NUMBERS = st.integers(-50, 50)


@st.composite
def bounded(draw: st.DrawFn, kind: type[int | float]) -> Any:
    low, high = sorted([draw(NUMBERS), draw(NUMBERS)])
    bounds: dict[str, float] = {}
    if draw(st.booleans()):
        bounds[draw(st.sampled_from(["ge", "gt"]))] = low - 1
    if draw(st.booleans()):
        bounds[draw(st.sampled_from(["le", "lt"]))] = high + 1
    if draw(st.booleans()) and not bounds.keys() >= {"ge", "gt", "le", "lt"}:
        bounds["multiple_of"] = draw(st.sampled_from([1, 2] if kind is int else [0.5, 0.01]))
    field: Any = Field
    return Annotated[kind, field(**bounds)]


@st.composite
def texts(draw: st.DrawFn) -> Any:
    shortest = draw(st.integers(0, 20))
    return Annotated[str, Field(min_length=shortest, max_length=draw(st.none() | st.integers(shortest, 25)))]


LEAVES = st.one_of(st.sampled_from(KINDS), bounded(int), bounded(float), texts())


def composed(kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    makers: list[Any] = [list, tuple, dict, TypedDict]
    a_list, a_tuple, a_dict, an_object = makers
    fewest = st.integers(0, 3)
    return st.one_of(
        kinds.map(lambda kind: a_list[kind]),
        st.tuples(kinds, fewest).map(lambda of: Annotated[a_list[of[0]], Field(min_length=of[1], max_length=3)]),
        st.tuples(kinds, kinds).map(lambda of: a_tuple[of]),
        kinds.map(lambda kind: a_dict[str, kind]),
        st.tuples(kinds, kinds).map(lambda of: of[0] if None in of else of[0] | of[1]),
        kinds.map(lambda kind: an_object("Made", {"one": kind})),
    )


@given(st.recursive(LEAVES, composed, max_leaves=6))
@settings(max_examples=200, deadline=None)
def test_a_sample_fits_whatever_is_composed(kind: Any) -> None:
    check(kind)


OBJECT: Schema = {"type": "object"}
RAW: list[Schema] = [
    {"properties": {"a": {"type": "integer", "minimum": 3, "exclusiveMaximum": 4}}},
    {"properties": {"a": {"type": "integer", "multipleOf": 1.5, "minimum": 4}}},
    {"properties": {"a": {"type": "integer", "maximum": -2}}, "required": ["a", "b"]},
    {"properties": {"a": {"type": ["null", "string"]}, "c": {"enum": [1, 2]}, "d": {"const": None}}},
    {"properties": {"a": {"allOf": [{"type": "integer", "minimum": 3}, {"minimum": 5, "maximum": 9}, {"maximum": 6}]}}},
    {"properties": {"a": {"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3]}]}}},
    {
        "properties": {
            "a": {"allOf": [{"$ref": "#/$defs/one"}], "required": ["y"], "properties": {"x": {"minimum": 9}}}
        },
        "$defs": {"one": {"$ref": "#/$defs/two"}, "two": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}},
    },
    {"properties": {"a": {"oneOf": [{"minLength": 8}, {"maxLength": 2}], "type": "string"}}},
    {"properties": {"a": {"$ref": "#/definitions/b", "maxLength": 2}}, "definitions": {"b": {"type": "string"}}},
    {"properties": {"a": {"type": "string", "format": "hostname"}, "b": {"type": "string", "format": "unheard-of"}}},
    {"properties": {"a": {"items": {"type": "integer"}}, "b": {"type": "array", "items": False}}},
    {"properties": {"a": {"properties": {"b": True}}}, "minProperties": 3},
]


def nothing(**_: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize("schema", RAW, ids=json.dumps)
def test_a_sample_fits_a_schema_of_a_callers_own(schema: Schema) -> None:
    tool = Tool.from_schema(nothing, name="use", description="", parameters={**OBJECT, **schema})
    made = sample(tool.spec.parameters)
    assert made
    tool.arguments.validate(json.dumps(made))


def test_parts_that_every_branch_shares_are_kept() -> None:
    both = sample({"allOf": [{"type": "string", "minLength": 9}, {"oneOf": [{"maxLength": 9}]}]})
    assert len(both) == 9
    deep = [{"allOf": [{"type": "integer", "minimum": 4}]}, {"allOf": [{"minimum": 5}]}]
    assert sample({"allOf": deep}) == 5
    assert sample({"allOf": [{"type": "string", "title": "a"}, {"type": "string", "title": "b"}]}) == "text"
    assert sample({"anyOf": [True]}) == "text"
    one = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 8}}, "required": ["x"]}
    assert sample({"allOf": [one, {"properties": {"x": {"maximum": 8}}, "required": ["y"]}]}) == {"x": 8, "y": "text"}


def test_the_same_schema_gives_the_same_sample() -> None:
    schema = tool_of(Tree).spec.parameters
    assert sample(schema) == sample(schema)
    assert sample(tool_of(datetime).spec.parameters) == dict.fromkeys(("value", "other"), "2026-12-01T12:00:00Z")
    assert datetime.fromisoformat("2026-12-01T12:00:00Z").tzinfo == UTC


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "no value was found that ends"),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {
                    "a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]},
                },
            },
            "no value was found that ends",
        ),
        ({"$ref": "#/$defs/b"}, "the schema has no definition for '#/\\$defs/b'"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "no value was found that ends"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}, "no value was found that ends"),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "found that ends"),
        ({"allOf": [{"enum": [1]}, {"enum": [2]}]}, "an enum that allows no value"),
        ({"type": "thing"}, "there is no type 'thing'"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "there is no number"),
        ({"type": "number", "minimum": 3, "exclusiveMaximum": 3}, "there is no number"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2, "uniqueItems": True}, "not 2 different values"),
        ({"type": "object", "minProperties": 2, "propertyNames": {"const": "a"}}, "not 2 names"),
        ({"type": "string", "pattern": "a(?!a)a"}, "no text was found"),
    ],
)
def test_what_has_no_sample_says_so(schema: Schema, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        sample(schema)


def test_recursion_ends_where_it_may() -> None:
    item: Schema = {"$ref": "#/$defs/node"}
    node: Schema = {
        "type": "object",
        "properties": {"next": item, "all": {"type": "array", "items": item, "minItems": 0}},
        "additionalProperties": item,
    }
    assert sample({**item, "$defs": {"node": node}}) == {"all": []}
    node = {"type": "object", "additionalProperties": item}
    assert sample({**item, "$defs": {"node": node}}) == {}
    node = {"type": "array", "items": {"anyOf": [item, {"type": "null"}]}, "minItems": 1}
    assert sample({**item, "$defs": {"node": node}}) == [None]
    must: Schema = {"type": "object", "additionalProperties": item, "minProperties": 1}
    with pytest.raises(ConfigurationError, match="ends"):
        sample({**item, "$defs": {"node": must}})
    must = {"type": "array", "items": item, "minItems": 1}
    with pytest.raises(ConfigurationError, match="ends"):
        sample({**item, "$defs": {"node": must}})
