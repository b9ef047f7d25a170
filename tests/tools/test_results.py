import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from agentkit import ToolError
from agentkit.core.parts import ImagePart
from agentkit.tools.results import (
    ToolResult,
    error_text,
    invalid_arguments_text,
    result_text,
    to_tool_result,
    unwrap_group,
)
from tests.strategies import any_text


class Color(enum.Enum):
    RED = "red"


class Model(BaseModel):
    a: int
    b: str = Field(alias="bee")


@dataclass
class Point:
    x: int
    y: float


class Opaque:
    def __str__(self) -> str:
        return "opaque"


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


circle: list[Any] = []
circle.append(circle)


# fmt: off
TEXTS: list[tuple[Any, str]] = [
    ("as it is", "as it is"), ("", ""), (None, "null"), (True, "true"), (5, "5"), (10**30, str(10**30)),
    (1.5, "1.5"), (float("nan"), "NaN"), ([1, "a", None], '[1,"a",null]'), ((1, 2), "[1,2]"),
    ({"a": {"b": 1}}, '{"a":{"b":1}}'), ({1: "a"}, '{"1":"a"}'), ({3}, "[3]"), (Color.RED, "red"),
    ({"c": Color.RED}, '{"c":"red"}'), (date(2026, 1, 2), "2026-01-02"),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"), (Decimal("1.10"), "1.10"),
    (PurePosixPath("a/b"), "a/b"), (b"bytes", "bytes"), (Model(a=1, bee="x"), '{"a":1,"bee":"x"}'),
    (Point(1, 2.0), '{"x":1,"y":2.0}'), ([Point(1, 2.0)], '[{"x":1,"y":2.0}]'), (Opaque(), "opaque"),
    ({"o": Opaque()}, '{"o":"opaque"}'), (Mute(), "<Mute that cannot be shown>"), ("a\ud800b", "a\ufffdb"),
    ({"a": ["b\ud800", 1, None]}, '{"a":["b\ufffd",1,null]}'), (Model(a=1, bee="\udc00"), '{"a":1,"bee":"\ufffd"}'),
    (circle, "[[...]]"), (b"\xff", "b'\\xff'"), ("Zürich 日本", "Zürich 日本"),
    ({"city": "Zürich"}, '{"city":"Zürich"}'),
]
# fmt: on


def test_a_result_becomes_text() -> None:
    for value, text in TEXTS:
        assert result_text(value) == text


JSON = st.none() | st.booleans() | st.integers() | st.floats() | any_text() | st.binary()


@settings(max_examples=30)
@given(st.recursive(JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text(), inner, max_size=3)))
def test_any_result_can_be_said_and_sent(value: Any) -> None:
    result_text(value).encode()


def test_errors_are_bounded_and_have_no_traceback() -> None:
    assert len(error_text(ValueError("x" * 10_000), "show")) == 2000
    assert error_text(ValueError(), "show") == "ValueError"
    assert error_text(ToolError("plain"), "hide") == "plain"

    def rule(error: Exception) -> str:
        raise RuntimeError

    assert error_text(ValueError("secret"), rule).startswith("The tool failed (incident "), "a rule that fails hides it"


def test_two_errors_stay_two() -> None:
    group = ExceptionGroup("several", [ValueError("a"), ValueError("b")])
    assert unwrap_group(group) is group
    nested = ExceptionGroup("all", [group, OSError("c")])
    assert (
        error_text(nested, "show")
        == "ExceptionGroup: all (ExceptionGroup: several (ValueError: a; ValueError: b); OSError: c)"
    )
    assert unwrap_group(ExceptionGroup("one", [ExceptionGroup("in one", [inside := ValueError("a")])])) is inside


def test_a_long_input_is_not_told_whole() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, int]).validate_python({"a": "x" * 1000})
    assert len(invalid_arguments_text(caught.value, "t")) < 500


class Rules(BaseModel):
    none: None = None
    word: Literal["None", 1, True] = 1
    number: int = 1
    text: Annotated[str, Field(max_length=1)] = ""


@pytest.mark.parametrize(("written", "told"), [
    ('{"none": true}', ["- none: Input should be null (got true)"]),
    ('{"number": null}', ["(got null)"]),
    ('{"number": {"a": [true, 1.5, "x"]}}', ['(got {"a":[true,1.5,"x"]})']),
    ('{"word": false}', ["'None'", "or true (got false)"]),
    ('{"text": "a \\"word\\""}', ['(got "a \\"word\\"")']),
    ("{bad", ["(got {bad)"]),
])  # fmt: skip
def test_the_model_reads_json_where_it_wrote_json(written: str, told: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Rules.model_validate_json(written)
    text = invalid_arguments_text(caught.value, "t")
    assert all(part in text for part in told), text


def test_an_input_that_is_no_json() -> None:
    with pytest.raises(ValidationError) as caught:
        Rules.model_validate({"number": "\ud800", "text": [Opaque()]})
    text = invalid_arguments_text(caught.value, "t")
    assert "(got '\\ud800')" in text
    assert '(got ["opaque"])' in text


PICTURE, OTHER = ImagePart("https://a.b/c.png"), ImagePart("data:,x", "low")
PLACE = "(an image, shown after the results)"
AFTER = "The image is shown after the results."


class Shot(NamedTuple):
    caption: str
    picture: ImagePart


@dataclass
class Page:
    title: str
    shots: list[object]


class Album(BaseModel):
    title: str = Field(alias="Title")
    cover: ImagePart
    secret: str = Field(default="s", exclude=True)


@pytest.mark.parametrize(("value", "result"), [
    (Shot("a cat", PICTURE), ToolResult("a cat", (PICTURE,))),
    (Page("detail", [PICTURE]), ToolResult(f'{{"title":"detail","shots":["{PLACE}"]}}', (PICTURE,))),
    (Page("a", [Shot("b", PICTURE)]), ToolResult(f'{{"title":"a","shots":[["b","{PLACE}"]]}}', (PICTURE,))),
    (Album(Title="a", cover=PICTURE), ToolResult(f'{{"Title":"a","cover":"{PLACE}"}}', (PICTURE,))),
    ("text", ToolResult("text")),
    (["a", "b"], ToolResult('["a","b"]')),
    ([], ToolResult("[]")),
    (None, ToolResult("null")),
    (PICTURE, ToolResult(AFTER, (PICTURE,))),
    ([PICTURE, OTHER], ToolResult(AFTER, (PICTURE, OTHER))),
    (("a cat:", PICTURE, {"age": 3}, OTHER), ToolResult('a cat:\n{"age":3}', (PICTURE, OTHER))),
    ({"detail": 1}, ToolResult('{"detail":1}')),
    ("detail", ToolResult("detail")),
    ([circle, "detail"], ToolResult("[[[...]], 'detail']")),
    ([[PICTURE]], ToolResult(f'["{PLACE}"]', (PICTURE,))),
    ({"a": PICTURE, "b": [OTHER, 1]}, ToolResult(f'{{"a":"{PLACE}","b":["{PLACE}",1]}}', (PICTURE, OTHER))),
    (["a", {"b": PICTURE}, {"c": 1}], ToolResult(f'a\n{{"b":"{PLACE}"}}\n{{"c":1}}', (PICTURE,))),
])  # fmt: skip
def test_what_a_tool_returned_is_text_and_images(value: object, result: ToolResult) -> None:
    assert to_tool_result(value) == result
