from copy import deepcopy
from typing import Any

from agentkit.core.value_limits import limit_values, optional_values

DEFINITIONS = {
    "Color": {"type": "string", "enum": ["red", "green", "blue"]},
    "Again": {"$ref": "#/$defs/Color"},
    "Loop": {"$ref": "#/$defs/Loop"},
    "Maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "Tree": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/Tree"}}]},
}
NULL = {"type": "null"}
TEXT = {"type": "string"}
AB = {"type": "string", "enum": ["a", "b"]}
RED = {"type": "string", "enum": ["red"]}


# Each names the next one twice, or once and so forty times.
DOUBLED = {f"D{at}": {"anyOf": [{"$ref": f"#/$defs/D{at + 1}"}, {"$ref": f"#/$defs/D{at + 1}"}]} for at in range(18)}
CHAIN = {f"C{at}": {"$ref": f"#/$defs/C{at + 1}"} for at in range(60)}


def limited(parameter: object, *allowed: object) -> Any:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"x": parameter, "y": TEXT},
        "$defs": {**DEFINITIONS, **DOUBLED, **CHAIN},
    }
    before = deepcopy(schema)
    after: Any = limit_values(schema, "x", allowed)
    assert schema == before, "the tool's own schema changed"
    if after is schema:
        return None
    assert {**after, "properties": {**after["properties"], "x": parameter}} == schema, "more changed than the parameter"
    return after["properties"]["x"]


def test_the_enum_of_a_parameter() -> None:
    for parameter, allowed, expected in [
        (TEXT, ("a", "b"), AB),
        (
            {"type": "string", "description": "An id.", "minLength": 1},
            ("a",),
            {"type": "string", "description": "An id.", "minLength": 1, "enum": ["a"]},
        ),
        ({}, ("a", 1), {"enum": ["a", 1]}),
        ({"type": "integer"}, (1, "2", True, 3), {"type": "integer", "enum": [1, 3]}),
        ({"type": "number"}, (1, 1.5, True), {"type": "number", "enum": [1, 1.5]}),
        ({"type": "boolean"}, (True, 1), {"type": "boolean", "enum": [True]}),
        ({"type": "object"}, ({"id": 1}, "a"), {"type": "object", "enum": [{"id": 1}]}),
        # Optional parameters: null stays.
        ({"anyOf": [TEXT, NULL], "default": None}, ("a", "b"), {"anyOf": [AB, NULL], "default": None}),
        ({"type": ["string", "null"]}, ("a",), {"type": ["string", "null"], "enum": ["a", None]}),
        ({"enum": ["a", "c", None], "default": None}, ("a", "b"), {"enum": ["a", None], "default": None}),
        ({"const": None}, ("a",), None),
        ({"default": None}, ("a",), {"enum": ["a", None], "default": None}),
        ({"type": "string", "default": "c"}, ("a",), {"type": "string", "enum": ["a", "c"], "default": "c"}),
        ({"type": "string", "default": "a"}, ("a",), {"type": "string", "enum": ["a"], "default": "a"}),
        (
            {"anyOf": [{"$ref": "#/$defs/Maybe"}, {"type": "integer"}]},
            (1,),
            {"anyOf": [{"anyOf": [NULL]}, {"type": "integer", "enum": [1]}]},
        ),
        ({"type": "array", "items": {"anyOf": [TEXT, NULL]}}, ("a", "b"), {"type": "array", "items": {"anyOf": [AB]}}),
        ({"anyOf": [TEXT, NULL]}, (None,), {"anyOf": [NULL]}),
        # A union keeps the branches that a value fits.
        ({"oneOf": [{"type": "integer"}, TEXT]}, ("a", "b"), {"oneOf": [AB]}),
        ({"anyOf": [{"type": "integer"}, NULL]}, ("a",), None),
        # The items of an array.
        ({"type": "array", "items": TEXT, "minItems": 1}, ("a", "b"), {"type": "array", "items": AB, "minItems": 1}),
        ({"type": "array"}, ("a",), {"type": "array", "items": {"enum": ["a"]}}),
        ({"type": "array", "items": {"type": "integer"}}, ("a",), None),
        (
            {"anyOf": [{"type": "array", "items": TEXT}, NULL]},
            ("a", "b"),
            {"anyOf": [{"type": "array", "items": AB}, NULL]},
        ),
        # References.
        ({"$ref": "#/$defs/Color"}, ("red", "pink"), RED),
        ({"$ref": "#/$defs/Again", "default": "red"}, ("red",), RED | {"default": "red"}),
        ({"allOf": [{"$ref": "#/$defs/Color"}], "default": "red"}, ("red",), {"allOf": [RED], "default": "red"}),
        ({"anyOf": [{"$ref": "#/$defs/Color"}, NULL]}, ("red",), {"anyOf": [RED, NULL]}),
        ({"$ref": "#/$defs/Color"}, ("pink",), None),
        ({"$ref": "#/$defs/Loop"}, ("a",), None),
        ({"$ref": "#/$defs/Tree"}, ("a", "b"), {"anyOf": [AB]}),
        ({"$ref": "#/$defs/Nothing"}, ("a",), {"enum": ["a"]}),
        # What the schema lists already.
        ({"const": "a"}, ("a", "b"), {"const": "a", "enum": ["a"]}),
        ({"const": "a"}, ("b",), None),
        # No enum: the verdict on each call remains.
        (TEXT, (), None),
        (TEXT, (object(),), None),
        (TEXT, tuple(map(str, range(251))), None),
        (TEXT, tuple(map(str, range(250))), {"type": "string", "enum": [*map(str, range(250))]}),
    ]:
        assert limited(parameter, *allowed) == expected


def test_a_parameter_that_is_not_there() -> None:
    schema = {"type": "object", "properties": {"x": TEXT}}
    assert limit_values(schema, "z", ("a",)) is schema
    assert limit_values({}, "z", ("a",)) == {}


def test_the_values_that_leave_a_parameter_open() -> None:
    schema = {"properties": {"x": {"type": "string", "default": "a"}}}
    assert optional_values(schema, "x") == ("a",)
    assert optional_values(schema | {"required": ["x"]}, "x") == ()
    assert optional_values(schema, "z") == ()


def test_references_that_lead_too_far_limit_nothing() -> None:
    for name in ("D0", "C0"):
        assert limited({"$ref": f"#/$defs/{name}"}, "a") is None
        schema = {"properties": {"x": {"$ref": f"#/$defs/{name}"}}, "$defs": {**DOUBLED, **CHAIN}}
        assert optional_values(schema, "x") == ()


def test_a_type_that_is_none_limits_nothing() -> None:
    assert limited({"type": {"a": 1}}, "a") == {"type": {"a": 1}, "enum": ["a"]}
