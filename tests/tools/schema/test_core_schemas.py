"""What validators raise, iterables, typed dicts and members of enums: at every depth, in arguments and typed answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from math import inf
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticUseDefault
from typing_extensions import TypedDict

from agentkit.core.errors import ModelRetry, ToolError
from agentkit.runs.output import output_of
from agentkit.tools.schema.signature import Arguments
from agentkit.tools.tool import Tool
from tests.tools.schema.values import INT, define_in


def arguments_of(annotation: object) -> Arguments:
    return Tool.of(define_in(globals(), "def use(x: X): ...", X=annotation)).arguments


def values_of(annotation: object, written: str) -> list[object]:
    """Return a value as an argument and as a typed answer."""
    output = output_of(annotation)
    assert output is not None
    answer = f'{{"answer": {written}}}' if output.wrapped else written
    return [arguments_of(annotation).validate(f'{{"x": {written}}}')["x"], output.read(answer)]


def error_of(arguments: Arguments, written: str) -> tuple[str, str, Any]:
    with pytest.raises(ValidationError) as caught:
        arguments.validate(written)
    error = caught.value.errors()[0]
    return ".".join(map(str, error["loc"])), error["type"], error.get("ctx", {}).get("error")


@dataclass
class Half:
    of: int

    def __post_init__(self) -> None:
        self.rate = 1 / self.of


class After(BaseModel):
    of: int
    half: Half | None = None

    @model_validator(mode="after")
    def check(self) -> "After":
        return {2: self}[self.of]


class Before(BaseModel):
    of: int

    @model_validator(mode="before")
    @classmethod
    def check(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {"of": data["number"]}


class Private(BaseModel):
    of: int
    inner: "list[Private]" = []
    _rate: float = 0.0

    def model_post_init(self, _context: object) -> None:
        self._rate = 1 / self.of


class Custom(BaseModel):
    of: int

    def __init__(self, of: int) -> None:
        super().__init__(of=1 // of)


def fails(*_: object) -> None:
    raise AttributeError("nothing")


def raising(error: BaseException) -> Callable[[object], object]:
    def check(_: object) -> object:
        raise error

    return check


def wrapping(_value: object, _handler: object) -> object:
    raise TypeError("no")


RAISED: list[tuple[object, str, str, type[BaseException]]] = [
    (Half, '{"of": 0}', "x", ZeroDivisionError),
    (list[Half], '[{"of": 1}, {"of": 0}]', "x.1", ZeroDivisionError),
    (Half | str, '{"of": 0}', "x.Half", ZeroDivisionError),
    (After, '{"of": 1}', "x", KeyError),
    (After, '{"of": 1, "half": {"of": 0}}', "x.half", ZeroDivisionError),
    (Before, '{"of": 1}', "x", KeyError),
    (Private, '{"of": 1, "inner": [{"of": 0}]}', "x.inner.0", ZeroDivisionError),
    (Custom, '{"of": 0}', "x", ZeroDivisionError),
    (Annotated[int, BeforeValidator(raising(ToolError("no such city")))], "1", "x", ToolError),
    (Annotated[int, AfterValidator(raising(ModelRetry("try Rome")))], "1", "x", ModelRetry),
    (Annotated[int, AfterValidator(raising(SystemExit(1)))], "1", "x", SystemExit),
    (Annotated[int, WrapValidator(wrapping)], "1", "x", TypeError),
    (Annotated[int, PlainValidator(raising(LookupError("no")), json_schema_input_type=int)], "1", "x", LookupError),
    (dict[str, Annotated[int, AfterValidator(raising(OSError("disk")))]], '{"a": 1}', "x.a", OSError),
]


@pytest.mark.parametrize(("annotation", "written", "where", "kind"), RAISED)
def test_what_a_validator_raises_is_a_validation_error(
    annotation: object, written: str, where: str, kind: type[BaseException]
) -> None:
    # pydantic/pydantic-ai#3000
    loc, error, reported = error_of(arguments_of(annotation), f'{{"x": {written}}}')
    assert (loc, error, type(reported.__cause__)) == (where, "value_error", kind)
    output = output_of(annotation)
    assert output is not None
    with pytest.raises(ValidationError):
        output.read(f'{{"answer": {written}}}' if output.wrapped else written)


def test_the_other_arguments_and_branches_are_validated_all_the_same() -> None:
    arguments = Tool.of(define_in(globals(), "def use(a: Half, b: int, c: Half | After | None = None): ...")).arguments
    with pytest.raises(ValidationError) as caught:
        arguments.validate('{"a": {"of": 0}, "b": "x"}')
    assert [error["loc"] for error in caught.value.errors()] == [("a",), ("b",)]
    assert error_of(arguments_of(Annotated[int, Tag("number")] | Half), '{"x": {"of": 0}}')[0] == "x.number"
    flaky = Annotated[str, AfterValidator(raising(KeyError(1)))] | int | Annotated[str, Field(max_length=3)]
    assert arguments_of(flaky).validate('{"x": "abc"}') == {"x": "abc"}


def test_what_is_raised_outside_of_a_validator_and_what_pydantic_means() -> None:
    made = Annotated[int, Field(default_factory=lambda: fails() or 1)]
    assert error_of(arguments_of(made), "{}")[:2] == ("", "value_error")
    left_out = Annotated[int, BeforeValidator(raising(PydanticUseDefault())), Field(default=7)]
    assert arguments_of(left_out).validate('{"x": 1}') == {"x": 7}
    with pytest.raises(KeyboardInterrupt):
        arguments_of(Annotated[int, AfterValidator(raising(KeyboardInterrupt()))]).validate('{"x": 1}')


@dataclass
class Rows:
    rows: Iterable[int] = ()
    more: list[Iterable[int]] = field(default_factory=list[Iterable[int]])


class Inner(BaseModel):
    rows: Iterable[int]


class Outer(BaseModel):
    inner: Inner


class Keys(TypedDict, total=False):
    rows: Iterable[int]


ITERABLES: list[tuple[object, str, object]] = [
    (Iterable[int], "[1, 2]", [1, 2]),
    (Iterable[int] | None, "[1]", [1]),
    (list[Iterable[int]], "[[1]]", [[1]]),
    (dict[str, Iterable[int]], '{"a": [1]}', {"a": [1]}),
    (tuple[Iterable[int], ...], "[[1]]", ([1],)),
    (Annotated[Iterable[int], Field(max_length=1)], "[1]", [1]),
    (Rows, '{"rows": [1], "more": [[1]]}', Rows([1], [[1]])),
    (Inner, '{"rows": [1]}', Inner.model_construct(rows=[1])),
    (Outer, '{"inner": {"rows": [1]}}', Outer.model_construct(inner=Inner.model_construct(rows=[1]))),
    (Keys, '{"rows": [1]}', {"rows": [1]}),
    (list[Keys], '[{"rows": [1]}]', [{"rows": [1]}]),
]


@pytest.mark.parametrize(("annotation", "written", "value"), ITERABLES)
def test_an_iterable_is_a_list_at_every_depth(annotation: object, written: str, value: object) -> None:
    # pydantic/pydantic#9266
    assert values_of(annotation, written) == [value, value]
    assert error_of(arguments_of(annotation), f'{{"x": {written.replace("1", "null", 1)}}}')[1] == "int_type"


def test_iterables_after_a_star() -> None:
    arguments = Tool.of(define_in(globals(), "def use(*rows: Iterable[int]): ...")).arguments
    assert arguments.bind(arguments.validate('{"rows": [[1], []]}')).args == ([1], [])


class Open(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    a: int


class Loose(TypedDict):
    __pydantic_config__ = ConfigDict(extra="ignore")  # type: ignore[misc]
    a: int


class Closed(TypedDict):
    a: int


class Holds(BaseModel):
    closed: Closed


@pytest.mark.parametrize(("annotation", "written", "where"), [
    (Closed, '{"a": 1, "b": 2}', "x.b"),
    (list[Closed], '[{"a": 1, "b": 2}]', "x.0.b"),
    (Closed | None, '{"a": 1, "b": 2}', "x.b"),
    (Holds, '{"closed": {"a": 1, "b": 2}}', "x.closed.b"),
])  # fmt: skip
def test_a_typed_dict_takes_no_other_keys(annotation: object, written: str, where: str) -> None:
    arguments = arguments_of(annotation)
    assert error_of(arguments, f'{{"x": {written}}}')[:2] == (where, "extra_forbidden")
    assert {"type": "object", "properties": {"a": INT}, "required": ["a"], "additionalProperties": False} in (
        list(arguments.schema["$defs"].values())  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    )


def test_a_typed_dict_that_says_what_it_does_with_other_keys() -> None:
    assert values_of(Open, '{"a": 1, "b": 2}') == [{"a": 1, "b": 2}] * 2
    assert values_of(Loose, '{"a": 1, "b": 2}') == [{"a": 1}] * 2


class K(Enum):
    A = "a"
    B = "b"
    ONE = 1
    YES = True


class Word(StrEnum):
    C = "c"


class Number(IntEnum):
    TWO = 2


class OfA(BaseModel):
    kind: Literal[K.A] = Field(default=K.A, validate_default=True)


class OfC(BaseModel):
    kind: Literal[K.B, Word.C, "d"]


Tagged = Annotated[OfA | OfC, Field(discriminator="kind")]
MEMBERS: list[tuple[object, str, object]] = [
    (Literal[K.A], '"a"', K.A),
    (Literal[K.A, K.B] | None, '"b"', K.B),
    (Literal[K.A, K.B] | None, "null", None),
    (Literal[K.ONE, "x"], "1", K.ONE),
    (Literal[K.A, "x", 3], '"x"', "x"),
    (Literal[Word.C], '"c"', Word.C),
    (Literal[Number.TWO], "2", Number.TWO),
    (list[Literal[K.A]], '["a"]', [K.A]),
    (OfA, "{}", OfA(kind=K.A)),
    (OfC, '{"kind": "c"}', OfC(kind=Word.C)),
    (Tagged, '{"kind": "a"}', OfA(kind=K.A)),
    (Tagged, '{"kind": "b"}', OfC(kind=K.B)),
    (Tagged, '{"kind": "d"}', OfC(kind="d")),
    (list[Tagged], '[{"kind": "b"}]', [OfC(kind=K.B)]),
]


@pytest.mark.parametrize(("annotation", "written", "value"), MEMBERS)
def test_a_literal_of_a_member_takes_its_value(annotation: object, written: str, value: object) -> None:
    # pydantic/pydantic#5188
    assert values_of(annotation, written) == [value, value]
    assert list(map(type, values_of(annotation, written))) == [type(value)] * 2


@pytest.mark.parametrize(("annotation", "written", "error"), [
    (Literal[K.A], '"A"', "literal_error"),
    (Literal[K.A], '"b"', "literal_error"),
    (Literal[K.A], "[1]", "literal_error"),
    (Tagged, '{"kind": "e"}', "union_tag_invalid"),
])  # fmt: skip
def test_another_value_is_no_member(annotation: object, written: str, error: str) -> None:
    assert error_of(arguments_of(annotation), f'{{"x": {written}}}')[1] == error


class Finite(BaseModel):
    a: float


class Infinite(BaseModel):
    model_config = ConfigDict(allow_inf_nan=True)
    a: float
    inner: Finite | None = None


class Amounts(TypedDict):
    a: list[float]


@dataclass
class Amount:
    a: float | str


ANY_FLOAT = Annotated[float, Field(allow_inf_nan=True)]


@pytest.mark.parametrize(("annotation", "written", "where", "error"), [
    (float, "%s", "x", "finite_number"),
    (int, "%s", "x", "int_parsing"),
    (float | None, "%s", "x", "finite_number"),
    (dict[str, tuple[float, ...]], '{"a": [1, %s]}', "x.a.1", "finite_number"),
    (Annotated[float, Field(lt=100)], "%s", "x", "finite_number"),
    (Finite, '{"a": %s}', "x.a", "finite_number"),
    (Infinite, '{"a": 1, "inner": {"a": %s}}', "x.inner.a", "finite_number"),
    (Amounts, '{"a": [%s]}', "x.a.0", "finite_number"),
])  # fmt: skip
def test_a_float_is_finite(annotation: object, written: str, where: str, error: str) -> None:
    arguments = arguments_of(annotation)
    for text in ("NaN", "-Infinity"):
        assert error_of(arguments, f'{{"x": {written % text}}}')[:2] == ("", "json_invalid")
    for text in ("1e999", "-1e400", "1" * 400 + ".0", '"nan"', '"Infinity"'):
        found = error_of(arguments, f'{{"x": {written % text}}}')
        assert (found[0], found[1]) == (where, error) or found[1] in ("finite_number", "int_type", "int_parsing_size")


@pytest.mark.parametrize(("annotation", "written", "value"), [
    (ANY_FLOAT, "1e999", inf),
    (ANY_FLOAT, '"-Infinity"', -inf),
    (Infinite, '{"a": 1e999}', Infinite(a=inf)),
    (list[str], '["NaN and Infinity"]', ["NaN and Infinity"]),
    (Amount, '{"a": "NaN"}', Amount("NaN")),
    (float, "1e308", 1e308),
])  # fmt: skip
def test_what_an_annotation_allows_is_not_refused(annotation: object, written: str, value: object) -> None:
    assert values_of(annotation, written) == [value, value]


def test_nan_is_no_json_whatever_the_annotation_says() -> None:
    arguments = arguments_of(ANY_FLOAT)
    for data in ('{"x": NaN}', b'{"x": -Infinity}', b'{"x": "\xff"}'):
        with pytest.raises(ValidationError) as caught:
            arguments.validate(data)
        assert caught.value.errors()[0]["type"] == "json_invalid"
