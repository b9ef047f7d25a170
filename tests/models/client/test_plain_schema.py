import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from itertools import pairwise
from time import process_time
from typing import Any, Literal, Optional, TypeAlias, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from agentkit import Tool
from agentkit.core.chat import ToolSpec
from agentkit.models.client.plain_schema import plain_schema, plain_tool
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.schema.json_schema import arguments_from_schema
from tests.endpoint import Json
from tests.strict_endpoints import refusal_of_gemini_schema

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
NULL = {"type": "null"}
LIST = {"type": "array"}
OBJECT = {"type": "object"}


def noted(schema: Json, note: str) -> Json:
    return {**schema, "description": note}


def plain_of(schema: Any, **definitions: Any) -> Any:
    """The plain form of a parameter."""
    whole = {"type": "object", "properties": {"x": schema}, "$defs": definitions}
    before = copy.deepcopy(whole)
    plain = plain_schema(whole)
    assert whole == before
    assert refusal_of_gemini_schema(plain) is None
    return plain["properties"]["x"]


A: Json = {"type": "object", "properties": {"k": {"const": "a"}, "x": NUMBER}, "required": ["k", "x"]}
B: Json = {"type": "object", "properties": {"k": {"const": "b"}, "y": TEXT}, "required": ["k"]}
FREE: Json = {"type": "object", "additionalProperties": True}

SAME: list[Json] = [
    TEXT | {"minLength": 1, "maxLength": 2, "pattern": "a"},
    TEXT | {"format": "date-time"},
    NUMBER | {"minimum": 1, "maximum": 2},
    LIST | {"items": NUMBER, "minItems": 1, "maxItems": 2},
]
EITHER = noted(TEXT, "Any of: integer, string.")
ONE = '{"type":"integer","description":"One of: %d."}'
CASES: list[tuple[Any, Json]] = [
    *[(schema, schema) for schema in SAME],
    ({"type": "boolean", "title": "X", "$comment": "y", "examples": [True]}, {"type": "boolean"}),
    # What is not known is stated in the description.
    ({"type": "string", "format": "uuid", "description": "The id"}, noted(TEXT, "The id. Format uuid.")),
    ({"type": "string", "default": "a"}, noted(TEXT, 'Default: "a".')),
    ({"type": "string", "default": None, "description": " "}, TEXT),
    ({"type": "integer", "multipleOf": 5}, noted(NUMBER, "A multiple of 5.")),
    ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9}, {**NUMBER, "minimum": 1, "maximum": 8}),
    ({"type": "integer", "minimum": 5, "exclusiveMinimum": 0}, {**NUMBER, "minimum": 5}),
    ({"type": "integer", "exclusiveMinimum": 0.5}, noted(NUMBER, "Greater than 0.5.")),
    ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, {**NUMBER, "minimum": 5}),
    ({"type": "number", "exclusiveMaximum": 1}, noted({"type": "number"}, "Less than 1.")),
    # Choices.
    ({"const": "C"}, {**TEXT, "enum": ["C"]}),
    ({"enum": ["a", None]}, {**TEXT, "enum": ["a"], "nullable": True}),
    ({"enum": [1, 2], "type": "integer"}, noted(NUMBER, "One of: 1, 2.")),
    ({"enum": [1, 2.5]}, noted({"type": "number"}, "One of: 1, 2.5.")),
    ({"enum": [True]}, noted({"type": "boolean"}, "One of: true.")),
    ({"enum": ["", "a"]}, noted(TEXT, 'One of: "", "a".')),
    ({"enum": ["a", 1]}, noted(TEXT, 'One of: "a", 1.')),
    ({"const": None}, {**TEXT, "nullable": True}),
    # Anything.
    ({}, TEXT),
    (True, TEXT),
    ({"type": "unheard-of"}, TEXT),
    ({"$ref": "#/nowhere"}, TEXT),
    (NULL, {**TEXT, "nullable": True}),
    ({"type": "array"}, {"type": "array", "items": TEXT}),
    ({"items": NUMBER}, {"type": "array", "items": NUMBER}),
    # Objects.
    (FREE, {"type": "object"}),
    ({"properties": {"a": NUMBER}, "required": ["a", "b"]}, OBJECT | {"properties": {"a": NUMBER}, "required": ["a"]}),
    (OBJECT | {"additionalProperties": NUMBER}, noted(OBJECT, "The value of any other key: integer.")),
    (OBJECT | {"properties": {"a": True}, "patternProperties": {"b": NUMBER}}, OBJECT | {"properties": {"a": TEXT}}),
    # Tuples.
    ({"prefixItems": [NUMBER, NUMBER]}, noted(LIST | {"items": NUMBER}, "In this order: integer, integer.")),
    (LIST | {"items": [NUMBER, TEXT]}, noted(LIST | {"items": EITHER}, "In this order: integer, string.")),
    # Unions.
    ({"anyOf": [NUMBER, NULL], "description": "How many"}, {**NUMBER, "nullable": True, "description": "How many"}),
    ({"anyOf": [noted(NUMBER, "Some"), {"const": None}], "default": 5}, {**NUMBER, "nullable": True, "description": "Some. Default: 5."}),
    ({"type": ["integer", "null"], "description": "How many"}, {**NUMBER, "nullable": True, "description": "How many"}),
    ({"type": ["string", "null"], "enum": ["a", None]}, {**TEXT, "enum": ["a"], "nullable": True}),
    ({"type": ["integer", "string"]}, noted(TEXT, "Any of: integer, string.")),
    ({"anyOf": [{"const": "a"}, {"enum": ["b", "a"]}]}, {**TEXT, "enum": ["a", "b"]}),
    ({"oneOf": [NUMBER, {"type": "number"}]}, noted({"type": "number"}, "Any of: integer, number.")),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, noted(NUMBER, f"Any of: {ONE % 1}, {ONE % 2}.")),
    ({"anyOf": [NUMBER, NUMBER]}, NUMBER),
    ({"anyOf": [NULL]}, {**TEXT, "nullable": True}),
    ({"anyOf": [NUMBER, {"type": ["boolean", "null"]}]}, {**TEXT, "nullable": True, "description": "Written as JSON, any of: integer, boolean."}),
    ({"anyOf": [NUMBER, {"type": "array", "items": NUMBER}]}, {"type": "array", "items": NUMBER}),
    ({"anyOf": [{"type": "array", "items": TEXT}, TEXT]}, {"type": "array", "items": TEXT}),
    ({"anyOf": [LIST | {"items": NUMBER}, LIST | {"items": TEXT}]}, LIST | {"items": EITHER}),
    ({"anyOf": [NUMBER, {"type": "array", "items": TEXT}]}, noted(TEXT, 'Written as JSON, any of: integer, {"type":"array","items":{"type":"string"}}.')),
    (
        {"anyOf": [A, B], "discriminator": {"propertyName": "k"}},
        {
            "type": "object",
            "properties": {"k": {**TEXT, "enum": ["a", "b"]}, "x": NUMBER, "y": TEXT},
            "required": ["k"],
            "description": "Either {k, x} or {k, y}.",
        },
    ),
    ({"anyOf": [FREE, OBJECT | {"additionalProperties": NUMBER}]}, noted(OBJECT, "Either {} or {}.")),
    (
        OBJECT | {"oneOf": [{"properties": {"a": NUMBER}}, {"properties": {"b": NUMBER}}]},
        noted(OBJECT | {"properties": {"a": NUMBER, "b": NUMBER}}, "Either {a} or {b}."),
    ),
    (OBJECT | {"properties": {"a": NUMBER}, "anyOf": [{"required": ["a"]}]}, OBJECT | {"properties": {"a": NUMBER}}),
    ({"type": "string", "anyOf": [{"minLength": 1}, {"maxLength": 0}]}, TEXT),
    # Parts.
    (
        {"allOf": [A, {"properties": {"z": TEXT}, "required": ["z"]}], "description": "All"},
        {
            "type": "object",
            "properties": {"z": TEXT, "k": {**TEXT, "enum": ["a"]}, "x": NUMBER},
            "required": ["z", "k", "x"],
            "description": "All",
        },
    ),
    ({"allOf": [{"type": "integer"}, {"minimum": 1}]}, {"type": "integer", "minimum": 1}),
]  # fmt: skip


def test_the_plain_form() -> None:
    for schema, plain in CASES:
        assert plain_of(schema) == plain


def test_references_are_put_in() -> None:
    reference = {"$ref": "#/$defs/N"}
    assert plain_of(reference, N=NUMBER) == NUMBER
    assert plain_of(noted(reference, "How many"), N=noted(NUMBER, "A number")) == noted(NUMBER, "How many")
    assert plain_of({"$ref": "#/$defs/M"}, M=reference, N=NUMBER) == NUMBER
    assert plain_of({"allOf": [reference], "default": 1}, N=NUMBER) == noted(NUMBER, "Default: 1.")
    old = OBJECT | {"properties": {"x": {"$ref": "#/definitions/N"}}, "definitions": {"N": NUMBER}}
    assert plain_schema(old) == OBJECT | {"properties": {"x": NUMBER}}


def test_a_reference_into_itself_is_an_object_of_any_kind() -> None:
    reference: Json = {"$ref": "#/$defs/N"}
    node = {"name": TEXT, "next": {"anyOf": [reference, NULL]}, "all": LIST | {"items": noted(reference, "A node")}}
    plain = {"name": TEXT, "next": OBJECT | {"nullable": True}, "all": LIST | {"items": noted(OBJECT, "A node")}}
    assert plain_of(reference, N=OBJECT | {"properties": node}) == OBJECT | {"properties": plain}
    assert plain_of({"$ref": "#"}) == OBJECT
    assert plain_of(reference, N=LIST | {"items": reference}) == LIST | {"items": LIST | {"items": TEXT}}
    assert plain_of(reference, N=reference) == OBJECT


def test_the_arguments_are_an_object_whatever_they_are() -> None:
    assert plain_schema({"type": "object", "anyOf": [{"type": "string"}, {"type": "integer"}]}) == {"type": "object"}
    assert plain_schema({"type": "object"}) == {"type": "object"}


def test_a_plain_tool() -> None:
    spec = ToolSpec("add", "Add.", OBJECT | {"properties": {"a": {"const": "x"}}}, strict=True)
    parameters = OBJECT | {"properties": {"a": {"type": "string", "enum": ["x"]}}}
    assert json.loads(plain_tool(spec.encoded))["function"] == noted({"name": "add", "parameters": parameters}, "Add.")
    assert plain_tool(ToolSpec("now", "", FREE).encoded) == b'{"type":"function","function":{"name":"now"}}'


@dataclass
class Cat:
    kind: Literal["cat"]
    lives: int


@dataclass
class Dog:
    kind: Literal["dog"]
    toys: list[str]


def feed(  # noqa: PLR0917 (one for each kind of union)
    either: int | str | None = None,
    some: int | list[int] = 1,
    pet: Cat | Dog | None = None,
    level: Literal[1, 2] = 1,
    mixed: Literal["a", 1] = "a",
    on: int | bool = 1,
    weight: float | Cat = 1.0,
    pair: tuple[int, str] = (1, "a"),
    words: str | list[str] = "",
) -> None:
    """Take values of all sorts."""


# What a model that was told the plain schema sends, and what the function gets.
WIDENED: list[tuple[str, Any, Any]] = [
    ("either", "5", "5"),  # a text among the branches: it stays one
    ("either", "a", "a"),
    ("either", None, None),
    ("some", [5], [5]),
    ("some", "[1,2]", [1, 2]),
    ("some", "5", 5),
    ("pet", {"kind": "cat", "lives": 9}, Cat("cat", 9)),
    ("pet", {"kind": "dog", "toys": ["ball"]}, Dog("dog", ["ball"])),
    ("level", 2, 2),
    ("level", "2", 2),
    ("mixed", "1", 1),
    ("mixed", "a", "a"),
    ("on", "true", True),
    ("on", "7", 7),
    ("weight", "1.5", 1.5),
    ("weight", '{"kind":"cat","lives":9}', Cat("cat", 9)),
    ("pair", ["1", "2"], (1, "2")),
    ("words", ["a"], ["a"]),
]


@pytest.mark.parametrize(("name", "sent", "meant"), WIDENED)
def test_what_was_widened_is_read_right(name: str, sent: Any, meant: Any) -> None:
    tool = Tool.of(feed)
    plain = plain_schema(tool.spec.parameters)
    values, _ = parse_arguments(tool.arguments, json.dumps({name: sent}))
    assert values == {name: meant}
    assert type(values[name]) is type(meant)
    assert refusal_of_gemini_schema(plain) is None


Kind: TypeAlias = Any


def kind_of(generic: Any, *kinds: Kind) -> Kind:
    """A generic of kinds; a set only of what can be hashed."""
    held: Any = list if generic is set and kinds[0] not in (int, str) else generic
    return held[kinds[0] if len(kinds) == 1 else kinds]


def fields_of(kinds: list[Kind]) -> Kind:
    return make_dataclass("D", [(f"f{at}", kind) for at, kind in enumerate(kinds)])


SCALARS: list[Kind] = [int, float, str, bool, None, Any, Literal["a", "b"], Literal[1, "a"], Literal[True], bytes]
KINDS: st.SearchStrategy[Kind] = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.map(lambda kind: kind_of(list, kind)),
        inner.map(lambda kind: kind_of(set, kind)),
        inner.map(lambda kind: kind_of(dict, str, kind)),
        inner.map(lambda kind: kind_of(tuple, kind, ...)),
        inner.map(lambda kind: kind_of(Optional, kind)),
        st.tuples(inner, inner).map(lambda kinds: kind_of(tuple, *kinds)),
        st.tuples(inner, inner).map(lambda kinds: kind_of(Union, *kinds)),
        st.lists(inner, max_size=3).map(fields_of),
    ),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(["a", "b", "anyOf", "const"]), KINDS, max_size=3))
def test_no_schema_of_pydantic_is_refused(kinds: dict[str, Kind]) -> None:
    whole = TypeAdapter(make_dataclass("Arguments", list(kinds.items()))).json_schema()
    plain = plain_schema(whole)
    assert refusal_of_gemini_schema({**plain, "properties": plain.get("properties", {"_": TEXT})}) is None
    assert plain_schema(whole) == plain
    assert plain.get("properties", {}).keys() == kinds.keys()
    arguments_from_schema("f", plain)  # it is a schema


VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text("ab", min_size=1, max_size=2) | st.lists(st.integers(), min_size=1),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)


def schema_of(value: Any) -> Json:
    """A schema that takes a value, and has no union in it."""
    match value:
        case bool():
            return {"type": ["boolean", "null"]}
        case int():
            return {"type": "integer", "exclusiveMinimum": value - 1}
        case str():
            return {"const": value}
        case dict():
            inside: Json = {key: schema_of(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
            return {"type": "object", "properties": inside, "required": list(inside), "additionalProperties": False}
        case _:
            return {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "integer"}}


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["a", "b"]), VALUES, min_size=1))
def test_a_plain_schema_takes_what_the_whole_one_does(value: Json) -> None:
    whole = schema_of(value)
    for schema in (whole, plain_schema(whole)):
        arguments_from_schema("f", schema).validate(json.dumps(value))


def doubled(times: int, inner: Callable[[Json], Json]) -> Json:
    """Definitions each of which names the next one twice; the first is N."""
    names = ["N", *[f"N{at}" for at in range(1, times)], "end"]
    return {**{name: inner({"$ref": f"#/$defs/{after}"}) for name, after in pairwise(names)}, "end": NUMBER}


TWICE: list[Callable[[Json], Json]] = [
    lambda inner: OBJECT | {"properties": {"a": inner, "b": inner}},
    lambda inner: {"anyOf": [inner, LIST | {"items": inner}]},
    lambda inner: {"allOf": [{"properties": {"a": inner}}, {"properties": {"b": inner}}]},
    lambda inner: {"anyOf": [OBJECT | {"properties": {"a": inner}}, OBJECT | {"properties": {"a": inner, "b": inner}}]},
]  # fmt: skip


@pytest.mark.parametrize("inner", TWICE)
def test_what_references_make_of_a_schema_is_bounded(inner: Callable[[Json], Json]) -> None:
    began = process_time()
    for times in (18, 200):
        assert len(json.dumps(plain_of({"$ref": "#/$defs/N"}, **doubled(times, inner)))) < 500_000
    assert process_time() - began < 2, "18 doublings took 10 s"


LINKS: list[tuple[Callable[[Json], Json], Json]] = [
    (lambda reference: reference, OBJECT),
    (lambda reference: reference | {"properties": {"a": TEXT}}, OBJECT),
    (lambda reference: {"allOf": [reference]}, TEXT),
]  # fmt: skip


@pytest.mark.parametrize(("part", "plain"), LINKS)
def test_a_long_chain_of_references_ends(part: Callable[[Json], Json], plain: Json) -> None:
    chain = {f"C{at}": part({"$ref": f"#/$defs/C{at + 1}"}) for at in range(3_000)}
    assert plain_of({"$ref": "#/$defs/C0"}, **chain) == plain


def test_unions_inside_unions_are_not_quoted_again_and_again() -> None:
    schema: Json = NUMBER
    for _ in range(30):
        schema = {"anyOf": [LIST | {"items": schema}, NUMBER]}
    assert len(json.dumps(plain_of(schema))) < 5_000


@pytest.mark.parametrize(("cut", "plain"), [
    (NUMBER, NUMBER), (OBJECT | {"properties": {"a": TEXT}}, OBJECT), (LIST, TEXT), ({"type": {"a": 1}}, TEXT),
])  # fmt: skip
def test_what_lies_too_deep_has_its_type(cut: Json, plain: Json) -> None:
    schema, shown = cut, plain
    for _ in range(40):
        schema, shown = LIST | {"items": schema}, LIST | {"items": shown}
    assert plain_of(schema) == shown
