"""Tools that bring a JSON schema: what it enforces, and what it cannot be."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import to_json

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.json_schema import arguments_from_schema
from agentkit.tools.tool import Tool
from tests.strategies import any_text
from tests.tools.schema.values import INT, STR, Schema, named

NODE: Schema = {"type": "object", "properties": {"value": INT, "next": {"$ref": "#/$defs/Node"}}, "required": ["value"]}

# The schema of the argument `x`, what it takes as it is, and what it refuses: the value, the place, the kind of error.
# fmt: off
CASES: list[tuple[str, Schema, list[Any], list[tuple[Any, str, str]]]] = [
    ("string", STR, ["", "é"], [(1, "x", "string_type"), (None, "x", "string_type")]),
    ("string with limits", {"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], [("a", "x", "string_too_short"), ("abcd", "x", "string_too_long")]),
    ("pattern", {"type": "string", "pattern": "(?<!x)[0-9]"}, ["a1"], [("x1", "x", "string_pattern_mismatch")]),
    ("integer", {"type": "integer", "minimum": 1, "maximum": 6, "multipleOf": 2}, [2, 6], [(0, "x", "greater_than_equal"), (8, "x", "less_than_equal"), (3, "x", "multiple_of"), (1.5, "x", "int_from_float")]),
    ("number", {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2}, [1, 0.5], [(0, "x", "greater_than"), (2.0, "x", "less_than"), ("a", "x", "float_parsing")]),
    ("number with limits that are not whole", {"type": "number", "minimum": 0.5, "multipleOf": 0.25}, [0.75], [(0.25, "x", "greater_than_equal"), (0.8, "x", "multiple_of")]),
    ("integer with limits that are not whole", {"type": "integer", "minimum": 0.5, "exclusiveMaximum": 2.5, "multipleOf": 0.5}, [1, 2], [(0, "x", "greater_than_equal"), (3, "x", "less_than")]),
    ("named groups of another dialect", {"type": "string", "pattern": r"^(?<year>\d{4})-\k<year>$"}, ["2026-2026"], [("2026-2027", "x", "string_pattern_mismatch")]),
    ("an extension of another dialect, which is not checked", {"type": "string", "pattern": "(?~a)", "minLength": 2}, ["12"], [("1", "x", "string_too_short")]),
    ("pattern of another dialect, which is not checked", {"type": "string", "pattern": r"^\p{L}+$", "minLength": 2}, ["12"], [("1", "x", "string_too_short")]),
    ("a bound as before draft 6", {"type": "integer", "minimum": 1, "exclusiveMinimum": True}, [2], [(0, "x", "greater_than_equal")]),
    ("boolean", {"type": "boolean"}, [True, False], [([], "x", "bool_type")]),
    ("null", {"type": "null"}, [None], [(0, "x", "none_required")]),
    ("array", {"type": "array", "items": STR, "minItems": 1, "maxItems": 2}, [["a"], ["a", "b"]], [([], "x", "too_short"), (["a"] * 3, "x", "too_long"), (["a", 1], "x.1", "string_type")]),
    ("array of anything", {"type": "array"}, [[], [1, "a", None]], [({}, "x", "list_type")]),
    ("object", {"type": "object", "properties": {"a": INT}, "required": ["a"], "additionalProperties": False}, [{"a": 1}], [({}, "x.a", "missing"), ({"a": 1, "b": 2}, "x.b", "extra_forbidden"), ({"a": "b"}, "x.a", "int_parsing")]),
    ("object with extras", {"type": "object", "properties": {"a": INT}}, [{}, {"a": 1, "b": [2]}], [({"a": None}, "x.a", "int_type")]),
    ("object with typed extras", {"type": "object", "additionalProperties": INT}, [{}, {"b": 2}], [({"b": "c"}, "x.b", "int_parsing")]),
    ("object without its type", {"properties": {"a": INT}}, [{"a": 1}], [(1, "x", "dict_type")]),
    ("object that requires what it does not describe", {"type": "object", "required": ["a"]}, [{"a": None}], [({}, "x.a", "missing")]),
    ("enum", {"enum": ["a", 1, None, [1]]}, ["a", 1, None, [1]], [("b", "x", "enum"), (True, "x", "enum"), ([2], "x", "enum")]),
    ("enum with a type", {"type": "string", "enum": ["a", "b"]}, ["a"], [("c", "x", "enum")]),
    ("const", {"const": False}, [False], [(True, "x", "enum"), (0, "x", "enum")]),
    ("const null", {"const": None}, [None], [(0, "x", "enum")]),
    ("several types", {"type": ["string", "null"]}, ["a", None], [(1, "x.str", "string_type")]),
    ("one of several types", {"type": ["string"]}, ["a"], [(1, "x", "string_type")]),
    ("no types", {"type": []}, ["a", 1, None], []),
    ("nullable", {"type": "string", "nullable": True}, ["a", None], [(1, "x", "string_type")]),
    ("anyOf", {"anyOf": [INT, {"type": "array", "items": INT}]}, [1, [1]], [("a", "x.int", "int_parsing")]),
    ("anyOf of one", {"anyOf": [INT]}, [1], [("a", "x", "int_parsing")]),
    ("oneOf", {"oneOf": [STR, {"type": "boolean"}]}, ["a", True], [([], "x.str", "string_type")]),
    ("allOf", {"allOf": [{"type": "object", "properties": {"a": INT}, "required": ["a"]}, {"type": "object", "required": ["b"]}]}, [{"a": 1, "b": 2}], [({"b": 2}, "x.a", "missing"), ({"a": 1}, "x.b", "missing")]),
    ("a type and a union", {"type": "object", "anyOf": [{"required": ["a"], "type": "object"}, {"required": ["b"], "type": "object"}]}, [{"a": 1}, {"b": 1}], [({}, "x.typed-dict.a", "missing")]),
    ("reference", {"$ref": "#/$defs/Node"}, [{"value": 1, "next": {"value": 2}}], [({"value": 1, "next": {}}, "x.next.value", "missing")]),
    ("reference to a reference", {"$ref": "#/$defs/Alias"}, [{"value": 1}], [({}, "x.value", "missing")]),
    ("old reference", {"$ref": "#/definitions/Old"}, ["a"], [(1, "x", "string_type")]),
    ("reference to elsewhere", {"$ref": "https://example.com/a.json"}, [1, "a"], []),
    ("anything", {}, [1, "a", None, [{}]], []),
    ("true", True, [1, "a"], []),  # type: ignore[list-item] # pyright: ignore[reportAssignmentType]
    ("what is not enforced", {"type": "array", "uniqueItems": True, "items": {"type": "string", "format": "date"}}, [["a", "a"]], []),
]
# fmt: on


def of(x: Schema) -> Schema:
    definitions = {"$defs": {"Node": NODE, "Alias": {"$ref": "#/$defs/Node"}}, "definitions": {"Old": STR}}
    return {"type": "object", "properties": {"x": x}, "required": ["x"], "additionalProperties": False, **definitions}


@pytest.mark.parametrize(("x", "good", "bad"), named(CASES))
def test_what_is_enforced(x: Schema, good: list[Any], bad: list[tuple[Any, str, str]]) -> None:
    arguments = arguments_from_schema("use", of(x))
    for value in good:
        received = arguments.validate(to_json({"x": value}))["x"]
        assert received == value
        assert type(received) is type(value)
    for value, where, error in bad:
        with pytest.raises(ValidationError) as caught:
            arguments.validate(to_json({"x": value}))
        details = caught.value.errors()
        assert (where, error) in [(".".join(map(str, detail["loc"])), detail["type"]) for detail in details]


@pytest.mark.parametrize("schema", [
    {},
    {"type": "array"},
    {"type": "object", "properties": {"x": {"type": "integr"}}},
    {"type": "object", "properties": {"x": {"type": "string", "pattern": "("}}},
    {"type": "object", "properties": {"x": {"type": "integer", "minimum": "low"}}},
    {"type": "object", "properties": {"x": {"$ref": "#/$defs/Missing"}}},
    {"type": "object", "properties": ["x"]},
    {"type": "object", "properties": {"x": {"anyOf": []}}},
    {"type": "object", "required": 5},
], ids=str)  # fmt: skip
def test_what_is_not_a_schema(schema: Schema) -> None:
    with pytest.raises(ToolDefinitionError, match="use: "):
        arguments_from_schema("use", schema)


def test_a_tool_from_a_schema() -> None:
    made = Tool.from_schema(dict, name="use", description="Use it.", parameters=of(INT))
    function = {"name": "use", "description": "Use it.", "parameters": of(INT)}
    assert made.spec.to_dict() == {"type": "function", "function": function}
    assert made.arguments.schema == of(INT)
    args, kwargs = made.arguments.bind(made.arguments.validate('{"x": 5}'))
    assert made.function(*args, **kwargs) == {"x": 5}


JSON = st.recursive(
    st.sampled_from([None, True, False]) | st.integers() | any_text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
KEYWORDS = st.sampled_from([
    "type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "$ref", "minimum", "minLength", "pattern", "additionalProperties", "$defs",
])  # fmt: skip
SCHEMAS = st.recursive(
    st.sampled_from([{}, True, STR, INT, {"$ref": "#/$defs/a"}]),
    lambda inner: st.dictionaries(
        KEYWORDS,
        inner | JSON | st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        max_size=3,
    ),
    max_leaves=6,
)


@given(SCHEMAS, JSON)
def test_whatever_the_schema_it_is_taken_or_refused_at_definition(x: Any, value: Any) -> None:
    schema = {"type": "object", "properties": {"x": x}, "$defs": {"a": INT}}
    try:
        arguments = arguments_from_schema("use", schema)
    except ToolDefinitionError:
        return
    with suppress(ValidationError):
        assert arguments.validate(to_json({"x": value})).keys() == {"x"}
