import json
from enum import Enum
from typing import Any, Literal

import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from agentkit.runs.output import output_of
from agentkit.server.schema_fit import misfit

OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]}
CLOSED = {**OBJECT, "additionalProperties": False}
TREE: dict[str, Any] = {
    "$defs": {"N": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}}}},
    "$ref": "#/$defs/N",
}
OTHER_TREE = json.loads(json.dumps(TREE).replace("/N", "/Node").replace('"N"', '"Node"'))
BROKEN_TREE = json.loads(json.dumps(OTHER_TREE).replace('"null"', '"string"'))


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Stop(BaseModel):
    """A stop of a journey."""

    city: str = Field(description="Where.")
    nights: int = Field(1, ge=0, le=30)


class Trip(BaseModel):
    stops: list[Stop]
    size: Size = Size.SMALL
    kind: Literal["work", "fun"] = "fun"
    tags: list[str] = Field(default_factory=list)
    note: str | None = None


FITS: list[tuple[Any, Any]] = [
    (OBJECT, OBJECT), (OBJECT, CLOSED), (OBJECT, {"type": "object"}), (OBJECT, {}), ({"type": "integer"}, {"type": "number"}),
    ({"type": "integer", "minimum": 3}, {"type": "integer", "minimum": 1}), ({"type": "string", "maxLength": 3}, {"maxLength": 4}),
    ({"enum": ["a"]}, {"enum": ["a", "b"]}), ({"const": "a"}, {"type": "string"}), ({"enum": [1, None, True, 1.5]}, {"type": ["number", "null", "boolean"]}),
    ({"type": ["string", "null"]}, {"anyOf": [{"type": "null"}, {"type": "string"}]}), (TREE, OTHER_TREE),
    ({"type": "array", "items": OBJECT}, {"type": "array", "items": CLOSED}), ({"type": "array"}, {"type": "array", "items": True}),
    ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, {"prefixItems": [{}], "items": False}),
    (OBJECT, {"allOf": [{"type": "object"}, {"required": ["a"]}]}), ({"type": "object"}, {"type": "object", "properties": {"a": {}}}),
    (OBJECT, {"additionalProperties": {"type": ["integer", "string"]}}), ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
    ({"properties": {"a": {"type": "null"}}}, {"type": "object"}),
    # zod writes the bounds of JavaScript's integers, the names of records, and the pattern of each format.
    ({"type": "integer"}, {"type": "integer", "minimum": -(2**53) + 1, "maximum": 2**53 - 1}),
    ({"type": "object", "additionalProperties": {"type": "number"}}, {"propertyNames": {"type": "string"}, "additionalProperties": {"type": "number"}}),
    ({"type": "string", "format": "date"}, {"type": "string", "format": "date", "pattern": "^[0-9-]+$"}),
]  # fmt: skip
MISFITS: list[tuple[Any, Any, str]] = [
    (OBJECT, {"type": "array"}, ""), (OBJECT, {**OBJECT, "required": ["c"]}, ".properties.c"), ({"type": "number"}, {"type": "integer"}, ""),
    (OBJECT, {"properties": {"a": {"type": "string"}}}, ".properties.a"), (OBJECT, {**CLOSED, "properties": {"a": {}}}, ".properties.b"),
    ({"type": "string"}, {"enum": ["a"]}, ""), ({"enum": ["a", "c"]}, {"enum": ["a", "b"]}, ""), ({"const": True}, {"const": 1}, ""),
    ({"type": "integer"}, {"minimum": 1}, ""), ({"maxLength": 5, "type": "string"}, {"maxLength": 4}, ""), ({"type": "string"}, {"pattern": "a"}, ""),
    ({"type": ["string", "null"]}, {"type": "string"}, ""), ({"type": "string"}, {"anyOf": [{"type": "null"}, {"type": "array"}]}, ""), (TREE, BROKEN_TREE, ".properties.next"),
    ({"type": "string"}, {"anyOf": [{"type": "null"}]}, ""), ({"type": "array", "items": OBJECT}, {"items": {"properties": {"a": {"type": "null"}}}}, ".items.properties.a"),
    ({"type": "array"}, {"prefixItems": [{}]}, ""), ({"type": "array", "prefixItems": [{"type": "string"}]}, {"prefixItems": [{"type": "null"}]}, ".prefixItems[0]"),
    (OBJECT, {"allOf": [{"type": "object"}, {"type": "null"}]}, ""), ({"type": "object"}, {"type": "object", "additionalProperties": False}, ".additionalProperties"),
    ({"type": "object"}, {"type": "object", "properties": {"a": {"type": "null"}}}, ".properties.a"), ({}, {"type": "object"}, ""),
    ({"type": "object", "additionalProperties": {"type": "string"}}, {"additionalProperties": {"type": "null"}}, ".additionalProperties"),
    ({"type": "integer"}, {"minimum": 2**53}, ""), ({"type": "integer"}, {"maximum": -(2**53)}, ""), ({"type": "object"}, {"propertyNames": {"pattern": "a"}}, ""),
    ({"type": "string", "format": "time"}, {"type": "string", "format": "date", "pattern": "a"}, ""), ({"type": "string"}, {"format": "date", "pattern": "a"}, ""),
    ({}, {"required": ["a"]}, ".properties.a"), (OBJECT, {"not": {"type": "null"}}, ""), ({"type": "array"}, {"items": False}, ".items"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "wanted"), FITS)
def test_an_equal_or_looser_schema_fits(answers: Any, wanted: Any) -> None:
    assert misfit(answers, wanted) is None


@pytest.mark.parametrize(("answers", "wanted", "where"), MISFITS)
def test_another_schema_does_not_and_the_place_is_named(answers: Any, wanted: Any, where: str) -> None:
    found = misfit(answers, wanted)
    assert found is not None
    assert found[0] == where
    assert found[1]


@pytest.mark.parametrize("kind", [Stop, Trip])
def test_a_type_fits_the_schemas_that_clients_make_of_it(kind: type[BaseModel]) -> None:
    output = output_of(kind)
    assert output is not None
    for wanted in (kind.model_json_schema(), kind.model_json_schema(mode="serialization"), to_strict_json_schema(kind)):
        assert misfit(output.schema, wanted) is None
