from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import anyio
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentkit.core.chat import FINAL_ANSWER
from agentkit.core.errors import ConfigurationError, ModelRetry
from agentkit.runs.output import Output, output_of
from agentkit.tools.results import to_tool_result

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Trip(BaseModel):
    """A trip to one city."""

    city: str
    days: int = Field(ge=1)


@dataclass
class Point:
    x: int
    y: int = 2


class Pair(TypedDict):
    left: int


class Node(BaseModel):
    name: str
    children: list["Node"] = []


class Colour(Enum):
    RED = "red"


class Nothing(BaseModel):
    pass


def made(kind: object, **options: Any) -> Output[Any]:
    output = output_of(kind, **options)
    assert output is not None
    return output


KINDS = [
    (Trip, '{"city":"Rome","days":2}', Trip(city="Rome", days=2)),
    (Point, '{"x":3}', Point(3)),
    (Pair, '{"left":1}', {"left": 1}),
    (Node, '{"name":"a","children":[{"name":"b"}]}', Node(name="a", children=[Node(name="b")])),
    (Literal["a", "b"], '{"answer":"b"}', "b"),
    (list[Trip], '{"answer":[{"city":"R","days":1}]}', [Trip(city="R", days=1)]),
    (int | str, '{"answer":3}', 3),
    (int | None, '{"answer":null}', None),
    (float, '{"answer":1.5}', 1.5),
    (bool, '{"answer":true}', True),
    (Colour, '{"answer":"red"}', Colour.RED),
    (dict[str, int], '{"answer":{"a":1}}', {"a": 1}),
    (Nothing, '{"answer":{}}', Nothing()),
]


@pytest.mark.parametrize(("kind", "written", "answer"), KINDS)
async def test_every_kind_of_answer(kind: object, written: str, answer: object) -> None:
    output = made(kind)
    assert output.read(written) == answer
    assert output.tool.name == FINAL_ANSWER
    assert await output.tool.function(answer=answer) == answer  # type: ignore[misc]
    assert output.response_format is None
    assert output.tool.arguments.schema["type"] == "object"
    assert output.read(to_tool_result(answer).text if written[2:8] != "answer" else written) == answer


def test_an_object_is_told_by_its_fields_and_its_docstring() -> None:
    spec = made(Trip).tool.spec
    assert spec.description == "Give the final answer. It ends the task.\n\nA trip to one city."
    assert list(spec.parameters["properties"]) == ["city", "days"]  # type: ignore[call-overload]
    assert "$defs" not in spec.parameters
    assert made(Point).tool.spec.description == "Give the final answer. It ends the task."
    assert made(int).tool.spec.description == "Give the final answer. It ends the task."

    assert list(made(Node).tool.spec.parameters["$defs"]) == ["Node"]  # type: ignore[call-overload]


def test_text_is_a_plain_answer() -> None:
    assert output_of(str) is None
    assert output_of(str, validators=[print]) is None


def test_the_format_is_strict() -> None:
    output = made(Trip, mode="format")
    form: Any = output.response_format
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"]["additionalProperties"] is False
    assert output.read('{"city":"Rome","days":2}') == Trip(city="Rome", days=2)


async def test_checks_may_ask_for_another_try() -> None:
    seen: list[object] = []

    def short(trip: Trip) -> None:
        seen.append(trip)
        if trip.days > 7:
            raise ModelRetry("A week is the most.")

    async def known(trip: Trip) -> None:
        await anyio.lowlevel.checkpoint()
        if trip.city == "Atlantis":
            raise ModelRetry("There is no such city.")

    output = made(Trip, mode="format", validators=[short, known])
    assert await output.error_in('{"city":"Rome","days":2}', "show") is None
    assert await output.error_in('{"city":"Rome","days":8}', "show") == "A week is the most."
    assert await output.error_in('{"city":"Atlantis","days":1}', "show") == "There is no such city."
    assert "days" in str(await output.error_in('{"city":"Rome","days":0}', "show"))
    assert seen[0] == Trip(city="Rome", days=2)

    def divides(trip: Trip) -> float:
        return 1 / (trip.days - 1)

    output = made(Trip, mode="format", validators=[divides])  # pydantic/pydantic-ai#3000
    assert "ZeroDivisionError" in str(await output.error_in('{"city":"Rome","days":1}', "show"))
    assert "ZeroDivisionError" not in str(await output.error_in('{"city":"Rome","days":1}', "hide"))
    with pytest.raises(ZeroDivisionError):
        await output.tool.function(answer=Trip(city="Rome", days=1))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "mode", "key_word"),
    [
        (Trip, "text", "output_mode"),
        (dict[str, int], "format", 'output_mode="tool"'),
        (object(), "tool", "JSON Schema"),
        (print, "tool", "JSON Schema"),
    ],
)
def test_what_cannot_be_an_answer(kind: object, mode: Any, key_word: str) -> None:
    with pytest.raises(ConfigurationError, match=key_word):
        output_of(kind, mode)
