"""What pydantic makes of one annotation: made once, without titles, ready to be put together with others."""

import sys
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentkit.tools.schema import annotations
from agentkit.tools.schema.annotations import distinct_schemas, type_schema


class Book(BaseModel):
    title: Annotated[str, Field(title="The title")]
    tags: dict[Literal["title", "year"], str] = {}


def twin(**fields: Any) -> type[BaseModel]:
    return type("Twin", (BaseModel,), {"__annotations__": fields, "__module__": __name__})


@pytest.mark.parametrize("annotation", [int, Book, list[Book], Literal["a", "b"], Annotated[int, "Told."]], ids=str)
def test_it_is_made_once_unless_it_cannot_be_hashed(annotation: Any) -> None:
    assert type_schema(annotation) is type_schema(annotation)
    unhashable = Annotated[annotation, ["told"]]
    assert type_schema(unhashable) == type_schema(unhashable)
    assert type_schema(unhashable) is not type_schema(unhashable)


@pytest.mark.parametrize("scalar", [str, int, float, bool])
def test_what_is_known_of_scalars_is_what_pydantic_makes_of_them(scalar: type) -> None:
    assert type_schema(scalar) == annotations._type_schema(scalar, "")
    assert type_schema(scalar) is not annotations._cached(scalar, "")


def test_a_field_is_known_without_loading_what_makes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert annotations.is_field(Field())
    assert not annotations.is_field("Field()")
    monkeypatch.delitem(sys.modules, "pydantic.fields")
    assert not annotations.is_field("Field()")


def test_a_model_is_a_definition_without_titles() -> None:
    keys = {"propertyNames": {"enum": ["title", "year"]}, "additionalProperties": {"type": "string"}}
    properties = {"title": {"type": "string"}, "tags": {"type": "object", **keys, "default": {}}}
    assert type_schema(Book).json == {"$ref": "#/$defs/Book"}
    assert type_schema(Book).definitions["Book"] == {"type": "object", "properties": properties, "required": ["title"]}


def test_two_types_of_one_name_are_told_apart() -> None:
    types = {"one": twin(a=int), "other": list[twin(b=str)], "third": int}  # type: ignore[misc]
    schemas, definitions = distinct_schemas(types)
    one, other = str(schemas[0]["$ref"]), schemas[1]["items"]
    assert isinstance(other, dict)
    assert one != other["$ref"]
    assert definitions[one.removeprefix("#/$defs/")]["properties"] == {"a": {"type": "integer"}}
    assert (len(definitions), schemas[2]) == (2, {"type": "integer"})
