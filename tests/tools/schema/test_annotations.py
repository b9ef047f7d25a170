"""What pydantic makes of one annotation: made once, without titles, ready to be put together with others."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from pydantic_core import SchemaValidator, ValidationError

from agentkit.tools.schema import annotations as fragments
from agentkit.tools.schema.annotations import distinct_schemas, type_schema


class Book(BaseModel):
    title: Annotated[str, Field(title="The title")]
    tags: dict[Literal["title", "year"], str] = {}


def twin(**fields: Any) -> type[BaseModel]:
    return type("Twin", (BaseModel,), {"__annotations__": fields, "__module__": __name__})


@pytest.mark.parametrize("annotation", [int, Book, list[Book], Literal["a", "b"], Annotated[int, "Told."]], ids=str)
def test_it_is_made_once(annotation: object) -> None:
    assert type_schema(annotation) is type_schema(annotation)


@pytest.mark.parametrize("scalar", [str, int, float, bool])
def test_what_is_known_of_scalars_is_what_pydantic_makes_of_them(scalar: type) -> None:
    assert type_schema(scalar) == fragments._type_schema(scalar, "")
    assert type_schema(scalar) is not fragments._cached(scalar, "")


def test_a_field_is_known_without_loading_what_makes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fragments.is_field(Field())
    assert not fragments.is_field("Field()")
    monkeypatch.delitem(sys.modules, "pydantic.fields")
    assert not fragments.is_field("Field()")


def test_what_cannot_be_hashed_is_made_each_time() -> None:
    annotation = Annotated[int, ["told"]]
    assert type_schema(annotation) == type_schema(annotation)
    assert type_schema(annotation) is not type_schema(annotation)


def test_equal_types_that_are_written_in_another_order_stay_in_it() -> None:
    assert type_schema(Literal["b", "a"]).json["enum"] == ["b", "a"]
    assert type_schema(Literal["a", "b"]).json["enum"] == ["a", "b"]


def test_a_model_is_a_definition_without_titles() -> None:
    fragment = type_schema(Book)
    assert fragment.json == {"$ref": "#/$defs/Book"}
    assert fragment.definitions["Book"] == {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "tags": {
                "type": "object",
                "propertyNames": {"enum": ["title", "year"]},
                "additionalProperties": {"type": "string"},
                "default": {},
            },
        },
        "required": ["title"],
    }


def test_the_items_of_an_iterable_are_checked_at_once() -> None:
    validator = SchemaValidator(type_schema(Iterable[int]).core)
    assert validator.validate_json("[1, 2]") == [1, 2]
    with pytest.raises(ValidationError):
        validator.validate_json('["a"]')


def test_two_types_of_one_name_are_told_apart() -> None:
    schemas, definitions = distinct_schemas({"one": twin(a=int), "other": list[twin(b=str)], "third": int})  # type: ignore[misc]
    one, other = str(schemas[0]["$ref"]), schemas[1]["items"]
    assert isinstance(other, dict)
    assert one != other["$ref"]
    assert definitions[one.removeprefix("#/$defs/")]["properties"] == {"a": {"type": "integer"}}
    assert len(definitions) == 2
    assert schemas[2] == {"type": "integer"}
