"""Tools that bring a JSON schema: what it enforces, and what it cannot be."""

import os
from contextlib import suppress
from functools import reduce
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import ValidationError
from pydantic_core import to_json

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.json_schema import JsonValidator, arguments_from_schema, lenient_arguments, sendable_schema
from agentkit.tools.tool import Tool
from tests.strategies import any_text
from tests.tools.schema.official_suite import accepts
from tests.tools.schema.random_schemas import VALUES, whole_schema
from tests.tools.schema.values import INT, STR, Schema, named

NODE: Schema = {"type": "object", "properties": {"value": INT, "next": {"$ref": "#/$defs/Node"}}, "required": ["value"]}

# The schema of the argument `x`, what it takes as it is, and what it refuses: the value, the place, the kind of error.
# fmt: off
CASES: list[tuple[str, Schema, list[Any], list[tuple[Any, str, str]]]] = [
    ("string", STR, ["", "é"], [(1, "x", "string_type"), (None, "x", "string_type")]),
    ("string with limits", {"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], [("a", "x", "string_too_short"), ("abcd", "x", "string_too_long")]),
    ("pattern", {"type": "string", "pattern": "x[0-9]"}, ["ax1"], [("1", "x", "string_pattern_mismatch")]),
    ("integer", {"type": "integer", "minimum": 1, "maximum": 6, "multipleOf": 2}, [2, 6], [(0, "x", "greater_than_equal"), (8, "x", "less_than_equal"), (3, "x", "multiple_of"), (1.5, "x", "int_from_float")]),
    ("number", {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2}, [1, 0.5], [(0, "x", "greater_than"), (2.0, "x", "less_than"), ("a", "x", "float_type")]),
    ("number with limits that are not whole", {"type": "number", "minimum": 0.5, "multipleOf": 0.25}, [0.75], [(0.25, "x", "greater_than_equal"), (0.8, "x", "multiple_of")]),
    ("integer with limits that are not whole", {"type": "integer", "minimum": 0.5, "exclusiveMaximum": 2.5, "multipleOf": 0.5}, [1, 2], [(0, "x", "greater_than_equal"), (3, "x", "less_than")]),
    ("letters", {"type": "string", "pattern": r"^\p{L}+$"}, ["é"], [("1", "x", "string_pattern_mismatch")]),
    ("a bound as before draft 6", {"type": "integer", "minimum": 1, "exclusiveMinimum": True}, [2], [(1, "x", "greater_than")]),
    ("a bound that is not exclusive, as before draft 6", {"type": "integer", "minimum": 1, "exclusiveMinimum": False}, [1], [(0, "x", "greater_than_equal")]),
    ("boolean", {"type": "boolean"}, [True, False], [([], "x", "bool_type")]),
    ("null", {"type": "null"}, [None], [(0, "x", "none_required")]),
    ("array", {"type": "array", "items": STR, "minItems": 1, "maxItems": 2}, [["a"], ["a", "b"]], [([], "x", "too_short"), (["a"] * 3, "x", "too_long"), (["a", 1], "x.1", "string_type")]),
    ("array of anything", {"type": "array"}, [[], [1, "a", None]], [({}, "x", "list_type")]),
    ("object", {"type": "object", "properties": {"a": INT}, "required": ["a"], "additionalProperties": False}, [{"a": 1}], [({}, "x.a", "missing"), ({"a": 1, "b": 2}, "x.b", "extra_forbidden"), ({"a": "b"}, "x.a", "int_type")]),
    ("object with extras", {"type": "object", "properties": {"a": INT}}, [{}, {"a": 1, "b": [2]}], [({"a": None}, "x.a", "int_type")]),
    ("object with typed extras", {"type": "object", "additionalProperties": INT}, [{}, {"b": 2}], [({"b": "c"}, "x.b", "int_type")]),
    ("object without its type", {"properties": {"a": INT}}, [{"a": 1}, 1], [({"a": "b"}, "x.a", "int_type")]),
    ("object that requires what it does not describe", {"type": "object", "required": ["a"]}, [{"a": None}], [({}, "x.a", "missing")]),
    ("enum", {"enum": ["a", 1, None, [1]]}, ["a", 1, None, [1]], [("b", "x", "enum"), (True, "x", "enum"), ([2], "x", "enum")]),
    ("enum with a type", {"type": "string", "enum": ["a", "b"]}, ["a"], [("c", "x", "enum")]),
    ("const", {"const": False}, [False], [(True, "x", "enum"), (0, "x", "enum")]),
    ("const null", {"const": None}, [None], [(0, "x", "enum")]),
    ("several types", {"type": ["string", "null"]}, ["a", None], [(1, "x", "string_type"), (1, "x", "none_required")]),
    ("one of several types", {"type": ["string"]}, ["a"], [(1, "x", "string_type")]),
    ("no types", {"type": []}, ["a", 1, None], []),
    ("nullable", {"type": "string", "nullable": True}, ["a", None], [(1, "x", "string_type")]),
    ("anyOf", {"anyOf": [INT, {"type": "array", "items": INT}]}, [1, [1]], [("a", "x", "int_type"), ("a", "x", "list_type"), (["a"], "x.0", "int_type")]),
    ("anyOf of one", {"anyOf": [INT]}, [1], [("a", "x", "int_type")]),
    ("oneOf", {"oneOf": [STR, {"type": ["boolean", "string"], "maxLength": 1}]}, ["ab", True], [([], "x", "string_type"), ("a", "x", "one_of")]),
    ("allOf of none", {"allOf": []}, [1], []),
    ("not", {"not": STR}, [1], [("a", "x", "not")]),
    ("if", {"if": STR, "then": {"minLength": 1}, "else": INT}, ["a", 1], [("", "x", "string_too_short"), (1.5, "x", "int_from_float")]),
    ("if without then", {"if": STR}, ["a", 1], []),
    ("allOf", {"allOf": [{"type": "object", "properties": {"a": INT}, "required": ["a"]}, {"type": "object", "required": ["b"]}]}, [{"a": 1, "b": 2}], [({"b": 2}, "x.a", "missing"), ({"a": 1}, "x.b", "missing")]),
    ("a type and a union", {"type": "object", "anyOf": [{"required": ["a"], "type": "object"}, {"required": ["b"], "type": "object"}]}, [{"a": 1}, {"b": 1}], [({}, "x.a", "missing")]),
    ("reference", {"$ref": "#/$defs/Node"}, [{"value": 1, "next": {"value": 2}}], [({"value": 1, "next": {}}, "x.next.value", "missing")]),
    ("reference to a reference", {"$ref": "#/$defs/Alias"}, [{"value": 1}], [({}, "x.value", "missing")]),
    ("old reference", {"$ref": "#/definitions/Old"}, ["a"], [(1, "x", "string_type")]),
    ("reference to a property", {"$ref": "#/$defs/Node/properties/value"}, [1], [("a", "x", "int_type")]),
    ("reference to a branch", {"$ref": "#/$defs/Odd~1%7E/allOf/0"}, ["a"], [(1, "x", "string_type")]),
    ("reference to a name", {"$ref": "#odd"}, ["a"], [(1, "x", "string_type")]),
    ("reference with more beside it", {"$ref": "#/definitions/Old", "minLength": 2}, ["ab"], [("a", "x", "string_too_short")]),
    ("what is in no property", {"type": "object", "patternProperties": {"^a": INT}, "properties": {"b": True}, "additionalProperties": False}, [{"a1": 1, "b": "x"}], [({"a1": "x"}, "x.a1", "int_type"), ({"c": 1}, "x.c", "extra_forbidden")]),
    ("names of properties", {"propertyNames": {"maxLength": 1}, "minProperties": 1, "maxProperties": 2}, [{"a": 1}, 1], [({"ab": 1}, "x.ab", "string_too_long"), ({}, "x", "too_short"), ({"a": 1, "b": 1, "c": 1}, "x", "too_long")]),
    ("what a property needs", {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"c": {"required": ["d"]}}, "dependencies": {"e": ["f"]}}, [{}, {"a": 1, "b": 1}, {"c": 1, "d": 1}], [({"a": 1}, "x.b", "missing"), ({"c": 1}, "x.d", "missing"), ({"e": 1}, "x.f", "missing")]),
    ("tuple", {"prefixItems": [INT, STR], "items": False}, [[], [1], [1, "a"], {}], [([1, 2], "x.1", "string_type"), ([1, "a", 1], "x.2", "nothing_allowed")]),
    ("tuple with more", {"prefixItems": [INT]}, [[1, "a"]], [(["a"], "x.0", "int_type")]),
    ("tuple as before draft 2020-12", {"items": [INT], "additionalItems": STR}, [[1, "a"]], [([1, 2], "x.1", "string_type")]),
    ("contains", {"contains": INT, "maxContains": 2}, [[1], ["a", 1, 2], 1], [(["a"], "x", "contains"), ([1, 2, 3], "x", "contains")]),
    ("contains none", {"contains": INT, "minContains": 0}, [[]], []),
    ("different items", {"uniqueItems": True}, [[1, True, "1", [1], [True], {"a": 1}], "aa"], [([1, 1.0], "x", "unique_items"), ([{"a": [1]}, {"a": [1]}], "x", "unique_items")]),
    ("values inside values", {"enum": [{"a": [True]}]}, [{"a": [True]}], [({"a": [1]}, "x", "enum")]),
    ("nothing", {"properties": {"a": False}}, [{}], [({"a": 1}, "x.a", "nothing_allowed")]),
    ("anything", {}, [1, "a", None, [{}]], []),
    ("true", True, [1, "a"], []),  # type: ignore[list-item] # pyright: ignore[reportAssignmentType]
    ("what is not enforced", {"type": "string", "format": "date", "contentMediaType": "application/json"}, ["a"], []),
]
# fmt: on


def of(x: Schema) -> Schema:
    odd = {"allOf": [STR], "$anchor": "odd"}
    definitions = {
        "$defs": {"Node": NODE, "Alias": {"$ref": "#/$defs/Node"}, "Odd/~": odd},
        "definitions": {"Old": STR},
    }
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


def broken(**keywords: object) -> Schema:
    return {"type": "object", "properties": {"x": keywords}}


def naming(definitions: Schema) -> Schema:
    """A schema that refers to the first of some definitions."""
    return {"type": "object", "properties": {"x": {"$ref": f"#/$defs/{next(iter(definitions))}"}}, "$defs": definitions}


A = {"$ref": "#/$defs/a"}
DEEP = reduce(lambda inner, _: {"items": inner}, range(70), Schema())


class Odd:
    """A value with no JSON form."""

    def __repr__(self) -> str:
        return "Odd"


ODD = Odd()
ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


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
    broken(required=[1]), broken(enum=5), broken(type=5), broken(minLength="1"), broken(minLength=-1), broken(minLength=0.5),
    broken(pattern=5), broken(multipleOf=0), broken(maximum=True), broken(maximum=10**400), broken(allOf=5), broken(items=5),
    broken(properties={"a": 5}), broken(dependentSchemas={"a": 5}), broken(**{"$ref": 5}), broken(**{"$ref": "#nowhere"}),
    broken(**{"$ref": "#/$defs/0/x"}), broken(patternProperties={"(": True}), broken(additionalProperties="no"),
    # What has no JSON form, or is too much.
    broken(maximum=float("inf")), broken(default=[float("nan")]), broken(enum=[ODD]), broken(enum=ENDLESS),
    broken(enum=list(range(60_000))), broken(items=DEEP),
    # References that lead to themselves, and to one another, without a value between.
    naming({"a": A}),
    naming({"a": {"anyOf": [A, INT]}}),
    naming({"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"if": {"not": A}}}),
    naming({"a": {"dependentSchemas": {"x": A}}}),
    {"type": "object", "oneOf": [{"$ref": "#"}]},
    naming({"a": {"$ref": "#/$defs/0"}} | {str(at): {"$ref": f"#/$defs/{at + 1}"} for at in range(60)} | {"60": INT}),
], ids=lambda schema: repr(schema)[:80])  # fmt: skip
def test_what_is_not_a_schema(schema: Schema) -> None:
    with pytest.raises(ToolDefinitionError, match="use: "):
        arguments_from_schema("use", schema)


@pytest.mark.parametrize(("schema", "unenforced", "value"), [
    (broken(**{"$ref": "https://example.com/a.json"}), "properties.x.$ref", 1),
    (broken(items={"pattern": "(?=a)"}), "properties.x.items.pattern", ["b"]),
    (broken(patternProperties={"(?=a)": INT}, additionalProperties=False), "properties.x.patternProperties.(?=a)", {"b": 1}),
    (broken(unevaluatedProperties=False), "properties.x.unevaluatedProperties", {"b": 1}),
    (broken(**{"$dynamicRef": "#a"}), "properties.x.$dynamicRef", 1),
    ({"$schema": "https://example.com/mine", **broken(type="colour")}, "$schema", 1),
    ({"$id": "https://example.com/b", **naming({"a": INT, "b": {"$id": "/c"}})}, "properties.x.$ref", "a"),
    # Where a part is not enforced, nothing follows from a value that fits it.
    (broken(**{"not": {"pattern": "(?=a)"}}), "properties.x.not.pattern", "b"),
    (broken(oneOf=[{"pattern": "(?=a)"}, STR]), "properties.x.oneOf.0.pattern", "b"),
    (broken(**{"if": {"pattern": "(?=a)"}, "then": False}), "properties.x.if.pattern", "b"),
    (broken(contains={"pattern": "(?=a)"}, maxContains=0, minContains=0), "properties.x.contains.pattern", ["b"]),
])  # fmt: skip
def test_what_cannot_be_enforced_is_named(schema: Schema, unenforced: str, value: object) -> None:
    with pytest.warns(UserWarning, match="use: its schema is not enforced"):
        arguments = arguments_from_schema("use", schema)
    assert arguments.unenforced == (unenforced,)
    assert arguments.validate(to_json({"x": value})) == {"x": value}


def test_references_may_name_the_whole_schema() -> None:
    tree = {
        "$id": "https://example.com/tree",
        "type": "object",
        "properties": {"a": {"$ref": "#"}, "b": {"$ref": "https://example.com/tree#/properties/c"}, "c": INT},
    }
    arguments = arguments_from_schema("use", tree)
    assert not arguments.unenforced
    assert arguments.validate('{"a": {"a": {"b": 1}}}')
    with pytest.raises(ValidationError):
        arguments.validate('{"a": {"a": {"b": "x"}}}')


def test_before_draft_2019_a_reference_stands_alone() -> None:
    old = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **broken(**{"$ref": "#/definitions/a", "maxLength": 1}),
        "definitions": {"a": STR},
    }
    assert arguments_from_schema("use", old).validate('{"x": "ab"}')


def test_whole_numbers_become_integers_where_integers_are_due() -> None:
    arguments = arguments_from_schema(
        "use",
        broken(type="object", properties={"n": INT, "f": {"type": "number"}, "list": {"items": {"anyOf": [STR, INT]}}}),
    )
    values = arguments.validate('{"x": {"n": 1.0, "f": 1.0, "list": [2.0, "a"]}}')["x"]
    assert [type(value) for value in (values["n"], values["f"], values["list"][0])] == [int, float, int]


@pytest.mark.parametrize("written", [
    "NaN", "-Infinity", "[Infinity]", "1e999", "-1e400", "1" * 400 + ".5", '{"a": 1E+400}', '"\\ud83d"', "", "1e",
])  # fmt: skip
def test_what_is_no_json_of_a_number(written: str) -> None:
    for data in (f'{{"x": {written}}}', f'{{"x": {written}}}'.encode()):
        with pytest.raises(ValidationError) as caught:
            arguments_from_schema("use", broken()).validate(data)
        assert caught.value.errors()[0]["type"] == "json_invalid"
    assert arguments_from_schema("use", broken()).validate('{"x": "1e999", "y": 1e100}')["y"] == 1e100


def test_checking_ends() -> None:
    long = arguments_from_schema("use", broken(items={"anyOf": [{"minimum": at} for at in range(1, 1_000)]}))
    deep = arguments_from_schema("use", {"type": "object", "properties": {"x": {"$ref": "#"}}})
    for arguments, written in [(long, f'{{"x": {[0] * 1_000}}}'), (deep, '{"x":' * 160 + "1" + "}" * 160)]:
        with pytest.raises(ValidationError) as caught:
            arguments.validate(written)
        assert caught.value.errors()[0]["type"] == "too_complex"


def test_a_given_schema_is_copied() -> None:
    schema = of(INT)
    made = Tool.from_schema(dict, name="use", description="", parameters=schema)
    schema["properties"]["y"] = STR
    assert "y" not in made.arguments.schema["properties"]  # type: ignore[operator]
    assert made.spec.parameters is made.arguments.schema


@pytest.mark.parametrize(("schema", "sent"), [
    (naming({"a": A}), naming({"a": A})),
    ({"type": "array"}, {"type": "array"}),
    (broken(maximum=float("inf")), {"type": "object"}),
    (broken(items=DEEP), {"type": "object"}),
])  # fmt: skip
def test_what_somebody_else_checks_is_sent_as_far_as_possible(schema: Schema, sent: Schema) -> None:
    with pytest.warns(UserWarning, match="use: "):
        arguments = lenient_arguments("use", schema)
    assert arguments.schema == sent
    assert arguments.unenforced
    assert arguments.validate('{"x": 1}') == {"x": 1}


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


@pytest.mark.filterwarnings("ignore:use. its schema is not enforced")
@given(SCHEMAS, JSON)
def test_whatever_the_schema_it_is_taken_or_refused_at_definition(x: Any, value: Any) -> None:
    schema = {"type": "object", "properties": {"x": x}, "$defs": {"a": INT}}
    try:
        arguments = arguments_from_schema("use", schema)
    except ToolDefinitionError:
        return
    with suppress(ValidationError):
        assert arguments.validate(to_json({"x": value})).keys() == {"x"}


def test_the_verdict_is_that_of_another_implementation() -> None:
    verdicts = {True: 0, False: 0}
    for seed in range(int(os.environ.get("AGENTKIT_SCHEMAS", "150"))):
        random = Random(seed)
        schema = whole_schema(random)
        try:
            validator = JsonValidator(schema, "use")
        except ToolDefinitionError as error:
            if "leads back to itself" not in str(error):
                raise
            continue
        assert not validator.unenforced
        oracle: Any = Draft202012Validator(schema)
        for value in random.sample(VALUES, 8):
            valid = oracle.is_valid(value)
            assert accepts(validator, value) == valid, (seed, schema, value)
            verdicts[valid] += 1
    assert min(verdicts.values()) > 100


def test_a_schema_with_no_json_form_cannot_be_sent() -> None:
    with pytest.raises(ToolDefinitionError, match="no JSON form"):
        sendable_schema("f", {"type": "object", "x": ODD})
