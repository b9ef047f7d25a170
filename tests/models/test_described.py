from typing import Any

import pytest

from agentkit.core.chat import ToolSpec
from agentkit.models.described import described

PLACE = {"type": "object", "properties": {"city": {"type": "string"}, "near": {"$ref": "#/$defs/Place"}}}
TYPES: list[tuple[dict[str, Any], str]] = [
    ({"type": "string"}, "string"),
    ({}, "any"),
    ({"type": ["string", "null"]}, "string or null"),
    ({"enum": ["a", 1]}, '"a" or 1'),
    ({"const": "a"}, '"a"'),
    ({"anyOf": [{"type": "string"}, {"type": "string"}, {"type": "null"}]}, "string or null"),
    ({"oneOf": [{"type": "integer"}, {"const": 0.5}]}, "integer or 0.5"),
    ({"type": "array", "items": {"type": "number"}}, "list of number"),
    ({"type": "array"}, "list of any"),
    ({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}, "{a: list of any}"),
    ({"$ref": "#/$defs/Place"}, "{city: string, near: Place}"),
    ({"$ref": "#/$defs/Gone"}, "Gone"),
]


@pytest.mark.parametrize(("schema", "name"), TYPES)
def test_types_in_words(schema: dict[str, Any], name: str) -> None:
    parameters = {"properties": {"x": schema}, "required": ["x"], "$defs": {"Place": PLACE}}
    assert described(ToolSpec("find", "Find it.", parameters)) == f"- find(x: {name}): Find it."


def test_required_parameters_stand_first_and_descriptions_below() -> None:
    properties = {"a": {"type": "string", "description": "What?"}, "b": {"type": "integer", "description": "How many?"}}
    lines = described(ToolSpec("find", "Find it.", {"properties": properties, "required": ["b"]})).splitlines()
    assert lines == ["- find(b: integer, a: string (optional)): Find it.", "  b: How many?", "  a: What?"]
