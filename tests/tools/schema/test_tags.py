from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar

import pytest
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, RootModel, Tag, ValidationError
from typing_extensions import TypeAliasType, TypedDict

from agentkit.core.errors import ConfigurationError
from agentkit.runs.output import output_of
from agentkit.tools.schema.annotations import type_schema


class Approve(BaseModel):
    reason: str


class Reject(BaseModel):
    reason: str


class Noted(BaseModel):
    """A superset, by a field that may be left out."""

    reason: str
    note: str = ""


class Renamed(BaseModel):
    text: str = Field(alias="reason")


class Choices(BaseModel):
    text: str = Field(validation_alias=AliasChoices("reason", "why"))


def _same(answer: object) -> object:
    return answer


class Checked(BaseModel):
    reason: Annotated[str, AfterValidator(_same)]


class Signed(BaseModel):
    """A superset, by a required field."""

    reason: str
    by: str


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    reason: str


class Typed(BaseModel):
    type: str


class Typed2(BaseModel):
    type: str


class Empty(BaseModel):
    pass


class Nothing(BaseModel):
    pass


@dataclass
class Point:
    x: int
    length: float = field(init=False, default=0.0)


@dataclass
class Size:
    x: int

    def __post_init__(self) -> None:
        self.x = abs(self.x)


class Left(NamedTuple):
    x: int


class Right(NamedTuple):
    x: int


class Row(TypedDict):
    x: int


class RowWithNote(TypedDict):
    x: int
    note: NotRequired[str]


class A(BaseModel):
    kind: Literal["a"] = "a"
    x: int


class B(BaseModel):
    kind: Literal["b"] = "b"
    x: int


class C(BaseModel):
    kind: Literal["c"]
    x: int


class Number(BaseModel):
    x: int = 0


class Text(BaseModel):
    x: str = ""


class Text2(BaseModel):
    x: str


class Add(BaseModel):
    left: "Add | Mul | int"


class Mul(BaseModel):
    left: "Add | Mul | int"


class Holder(BaseModel):
    point: Point


class HolderWithNote(BaseModel):
    point: Point
    note: str


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Mood(Enum):
    BLUE = "blue"


class Fruit(Enum):
    PEAR = "pear"


class Name(RootModel[str]):
    pass


class Mail(RootModel[str]):
    pass


class Age(RootModel[int]):
    pass


class Approval(RootModel[Approve]):
    pass


class Rejection(RootModel[Reject]):
    pass


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    inside: T


Decision = TypeAliasType("Decision", Approve | Reject)


def read(kind: object, written: str) -> Any:
    output = output_of(kind)
    assert output is not None
    return output.read(written)


def properties(kind: object, name: str) -> dict[str, Any]:
    definitions: Any = type_schema(kind, tags=True).definitions
    return {"properties": definitions[name]["properties"], "required": definitions[name].get("required", [])}


TAGGED: list[tuple[object, str, object]] = [
    (Approve | Reject, '{"type":"Reject","reason":"x"}', Reject(reason="x")),
    (Approve | Reject, '{"type":"Approve","reason":"x"}', Approve(reason="x")),
    (Decision, '{"type":"Reject","reason":"x"}', Reject(reason="x")),
    (Annotated[Approve | Reject, Field(description="which")], '{"type":"Reject","reason":"x"}', Reject(reason="x")),
    (Approve | Annotated[Reject, AfterValidator(_same)], '{"type":"Reject","reason":"x"}', Reject(reason="x")),
    (Approve | Noted | Reject, '{"type":"Noted","reason":"x"}', Noted(reason="x")),
    (Noted | Approve, '{"type":"Approve","reason":"x"}', Approve(reason="x")),
    (Approve | Renamed, '{"type":"Renamed","reason":"x"}', Renamed(reason="x")),
    (Approve | Choices, '{"type":"Choices","reason":"x"}', Choices(reason="x")),  # type: ignore[call-arg]
    (Open | Signed, '{"type":"Signed","reason":"x","by":"me"}', Signed(reason="x", by="me")),
    (Holder | HolderWithNote, '{"type":"Holder","point":{"x":1}}', Holder(point=Point(1))),
    (Typed | Typed2, '{"type_":"Typed2","type":"x"}', Typed2(type="x")),
    (Empty | Nothing, '{"type":"Nothing"}', Nothing()),
    (Point | Size, '{"type":"Size","x":-1}', Size(1)),
    (Left | Right, '{"type":"Right","x":1}', Right(1)),
    (Point | Row, '{"type":"Row","x":1}', {"x": 1}),
    (Add | Mul, '{"type":"Mul","left":{"type":"Add","left":1}}', Mul(left=Add(left=1))),
    (Text | Text2, '{"type":"Text2","x":"a"}', Text2(x="a")),
    (Number | Text, '{"type":"Text"}', Text()),
    (list[Approve | Reject], '[{"type":"Reject","reason":"x"}]', [Reject(reason="x")]),
    (list[Approve] | list[Reject], '[{"type":"Reject","reason":"x"}]', [Reject(reason="x")]),
    (list[Approve | None] | list[Reject], '[{"type":"Reject","reason":"x"}]', [Reject(reason="x")]),
    (Annotated[Approve, Tag("yes")] | Reject, '{"type":"Reject","reason":"x"}', Reject(reason="x")),
    (Approve | Checked, '{"type":"Checked","reason":"x"}', Checked(reason="x")),
    (tuple[int, Approve] | list[Reject], '[{"type":"Reject","reason":"x"}]', [Reject(reason="x")]),
    (dict[str, Approve | Reject | None], '{"a":{"type":"Reject","reason":"x"}}', {"a": Reject(reason="x")}),
    (dict[str, Approve] | dict[str, Reject], '{"a":{"type":"Reject","reason":"x"}}', {"a": Reject(reason="x")}),
    (Approval | Rejection, '{"type":"Reject","reason":"x"}', Rejection(Reject(reason="x"))),
    (Box[Approve | Reject] | None, '{"inside":{"type":"Reject","reason":"x"}}', Box(Reject(reason="x"))),
]


@pytest.mark.parametrize(("kind", "written", "answer"), TAGGED)
def test_an_answer_is_of_the_class_that_is_meant(kind: object, written: str, answer: object) -> None:
    """pydantic/pydantic#453: of two classes with the same fields, it was always the first."""
    made = read(kind, f'{{"answer":{written}}}')
    assert made == answer
    assert type(made) is type(answer)


PLAIN: list[tuple[object, str, object]] = [
    (Approve | Signed, '{"reason":"x","by":"me"}', Signed(reason="x", by="me")),
    (Approve | Signed, '{"reason":"x"}', Approve(reason="x")),
    (Signed | HolderWithNote, '{"reason":"x","by":"me"}', Signed(reason="x", by="me")),
    (B | C, '{"kind":"c","x":1}', C(kind="c", x=1)),
    (Text2 | Point, '{"x":1}', Point(1)),
    (Colour | Fruit, '"pear"', Fruit.PEAR),
    (Name | Age, "3", Age(3)),
    (Name | Empty, '"a"', Name("a")),
    (list[Approve] | dict[str, Reject], '{"a":{"reason":"x"}}', {"a": Reject(reason="x")}),
    (Box[int] | Box[str], '{"inside":"a"}', Box("a")),
    (Approve, '{"reason":"x"}', Approve(reason="x")),
]


@pytest.mark.parametrize(("kind", "written", "answer"), PLAIN)
def test_classes_that_json_tells_apart_take_no_tag(kind: object, written: str, answer: object) -> None:
    made = read(kind, written if kind is Approve else f'{{"answer":{written}}}')
    assert made == answer
    assert type(made) is type(answer)
    assert type_schema(kind, tags=True).json == type_schema(kind).json
    assert type_schema(kind, tags=True).definitions == type_schema(kind).definitions


def test_the_schema_shows_the_tag() -> None:
    assert properties(Approve | Reject, "Reject") == {
        "properties": {"type": {"const": "Reject", "type": "string"}, "reason": {"type": "string"}},
        "required": ["type", "reason"],
    }
    assert "type" not in properties(Approve | Reject | Signed, "Signed")["properties"]
    assert "type" not in type_schema(Approve).definitions["Approve"]["properties"]  # type: ignore[operator]
    output = output_of(Approve | Reject, "format")
    assert output is not None
    assert output.read('{"answer":{"type":"Reject","reason":"x"}}') == Reject(reason="x")


def test_a_literal_with_a_default_is_the_tag() -> None:
    assert properties(A | B, "B")["required"] == ["kind", "x"]
    assert list(properties(A | B, "B")["properties"]) == ["kind", "x"]
    assert read(A | B, '{"answer":{"kind":"b","x":1}}') == B(x=1)
    with pytest.raises(ValidationError, match=r"answer\.B\n  Field 'kind' is required here"):
        read(A | B, '{"answer":{"x":1}}')


@pytest.mark.parametrize("written", ['{"reason":"x"}', '{"type":"Signed","reason":"x"}', "3"])
def test_an_answer_without_its_tag_is_refused(written: str) -> None:
    with pytest.raises(ValidationError, match=r"answer\.Reject"):
        read(Approve | Reject, f'{{"answer":{written}}}')


def test_what_cannot_take_a_tag_is_refused() -> None:
    class Other(BaseModel):
        reason: str

    Other.__name__ = "Approve"
    for kind in (Row | RowWithNote, Colour | Mood, Name | Mail, Name | Name | Mail, Approve | Other):
        with pytest.raises(ConfigurationError, match="Literal"):
            output_of(kind)


def test_aliases_that_are_in_themselves_are_compared_once() -> None:
    alias: Any = TypeAliasType
    first = alias("first", "list[first] | int")
    second = alias("second", "list[second] | str")
    assert read(first | second, '{"answer":[["a"]]}') == [["a"]]
