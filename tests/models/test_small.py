import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.chat import FINAL_ANSWER, ChatRequest, ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from agentkit.core.parts import TextPart
from agentkit.models.small import Mentioned, narrowed, with_example

NUMBERS: list[tuple[str, list[float]]] = [
    ("a base of 10 units and a height of 2.5", [10, 2.5]),
    ("$1,250.50 of [100,200], 9007199254740993", [1250.5, 100200, 100, 200, 9007199254740993]),
    ("2 million, 1.5 billion, 3k and 1e-9", [2_000_000, 1_500_000_000, 3, 3000, 1e-9]),
    ("$1M or €2k, in 5 m", [1_000_000, 2000, 5, 5_000_000]),
    ("from 2019-2020, at -3.5 and (40.5, -74.25)", [2019, 2020, -3.5, 40.5, -74.25]),
    ("case CA123456, version 3.5.2", [3.5]),
    ("Two players, the 2nd game, a 3-hour match at 10:30", [2, 2, 3, 10, 30]),
    ("next month, 1e999 times", []),
]


def mentioned(*texts: str) -> Mentioned:
    return Mentioned.by([UserMessage(text) for text in texts])


def restricted(said: Mentioned, schema: Mapping[str, object]) -> Any:
    """Return a schema as it is for a parameter that a tool requires."""
    parameters = {"type": "object", "properties": {"x": schema, "y": schema}, "required": ["x"]}
    (tool,) = said.restricted([ToolSpec("look_up", "", parameters)])
    properties: Any = tool.parameters["properties"]
    assert properties["y"] == ({"maxItems": said.listed, **schema} if schema.get("type") == "array" else schema)
    return properties["x"]


@pytest.mark.parametrize(("text", "numbers"), NUMBERS)
def test_the_numbers_of_a_text(text: str, numbers: list[float]) -> None:
    assert mentioned(text).numbers == tuple(numbers)


def test_a_number_is_one_of_those_that_are_mentioned() -> None:
    text = "Between 3 and 4.5, at most 3 of them"
    schemas: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"type": "number"}, {"type": "number", "enum": [3, 4.5]}),
        ({"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 0, "enum": [3]}),
        ({"type": "integer", "enum": [7]}, {"type": "integer", "enum": [7]}),
        ({"type": "array", "items": {"type": "integer"}},
         {"type": "array", "items": {"type": "integer", "enum": [3]}, "minItems": 1, "maxItems": 3}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"anyOf": [{"type": "integer", "enum": [3]}, {"type": "null"}]}),
        ({"type": "boolean"}, {"type": "boolean"}),
    ]  # fmt: skip
    for schema, expected in schemas:
        nested = {"type": "object", "properties": {"x": schema}, "$defs": {"X": schema}, "required": ["x"]}
        assert restricted(mentioned(text), schema) == expected
        assert restricted(mentioned(text), nested) == nested | {"properties": {"x": expected}, "$defs": {"X": expected}}
        assert restricted(mentioned(""), schema).get("enum") == schema.get("enum")
    assert "enum" not in restricted(mentioned(*map(str, range(51))), {"type": "integer"})


def pattern_of(said: Mentioned) -> "re.Pattern[str]":
    return re.compile(restricted(said, {"type": "string"})["pattern"])


def test_a_text_is_a_run_of_words() -> None:
    pattern = pattern_of(mentioned('Find "The Alchemist" in\nNew York, D.C.', "tools/x.csv ($5) of 'X Inc.' in"))
    for run in ("The Alchemist", "Alchemist", "New York", "New York, D.C", "York", "tools/x.csv", "X Inc"):
        assert pattern.match(run), run
    for other in ("", "Alchemy", "Alchemist in", "in New", "Find The", "York D.C", "tools/x.csv ($5", "X Inc.' in"):
        assert not pattern.match(other), other


def test_what_says_more_of_a_text_is_left_alone() -> None:
    schemas: list[dict[str, object]] = [
        {"type": "string", "enum": ["a"]}, {"const": "a"}, {"type": "string", "format": "date"}, {"type": "array"},
        {"type": "string", "pattern": "^a$"}, {"type": ["string", "null"]}, {},
        {"type": "integer", "minimum": 1, "maximum": 5},
    ]  # fmt: skip
    assert [restricted(mentioned("some words, 7 of them"), schema) for schema in schemas] == schemas
    assert restricted(mentioned("word " * 201), {"type": "string"}) == {"type": "string"}
    assert restricted(mentioned(""), {"type": "string"}) == {"type": "string"}


def test_a_list_is_as_long_as_what_is_listed() -> None:
    texts = {"type": "array", "items": {"type": "string"}}
    assert restricted(mentioned("eggs, milk and bread"), texts)["maxItems"] == 3
    assert restricted(mentioned("eggs"), texts | {"maxItems": 9})["maxItems"] == 9


@pytest.mark.parametrize(("name", "value", "is_kept"), [
    ("equal_variance", True, True),
    ("includeAvailability", False, False),
    ("unit", "miles", True),
    ("unit", "mi", True),
    ("unit", "km", False),
    ("genre", "Fantasy", False),
    ("days", 3, True),
    ("days", 7, False),
    ("extras", ["sauna", "breakfasts"], True),
    ("extras", ["sauna"], False),
    ("extras", [], False),
    ("filters", {"kind": "breakfast"}, True),
    ("filters", {"kind": "dinner"}, False),
    ("note", None, False),
])  # fmt: skip
def test_an_optional_argument_needs_something_that_speaks_for_it(name: str, value: object, is_kept: bool) -> None:
    said = Mentioned.by([
        UserMessage((TextPart("Breakfast for 3 days, with equal variance"), TextPart("in miles"))),
        AssistantMessage(None),
        ToolMessage("c", "found: Hotel Sauna-free"[:12]),
    ])  # fmt: skip
    arguments = {"city": "Rome", name: value}
    message = AssistantMessage(tool_calls=(ToolCall("c", "look_up", json.dumps(arguments)),))
    (call,) = said.without_guesses(message, [ToolSpec("look_up", "", {"required": ["city"]})]).tool_calls
    assert json.loads(call.arguments) == (arguments if is_kept else {"city": "Rome"})


def tools_for(*messages: Message, choice: str = "auto") -> list[str]:
    specs = [
        ToolSpec("get_weather", "Look up the weather.", {}),
        ToolSpec("add", "Add two numbers.", {}),
        ToolSpec("sum_up", "Add many numbers.", {}),
        ToolSpec(FINAL_ANSWER, "Give the answer.", {}),
    ]
    tool = None if choice == "auto" else choice
    request = ChatRequest(messages, tuple(specs), ToolChoice("tool", tool) if tool else ToolChoice())
    return [tool.name for tool in narrowed(request).tools]


def test_percent_are_a_fraction_unless_a_parameter_wants_percent() -> None:
    said = mentioned("2 of them, at 5% or 7.5 percent")
    assert (said.numbers, said.percents) == ((2,), (5, 7.5))
    for schema, enum in (
        ({"type": "number"}, [2, 0.05, 0.075]),
        ({"type": "number", "description": "In percent."}, [2, 5, 7.5]),
        ({"type": "integer"}, [2, 5]),
    ):
        assert restricted(said, schema)["enum"] == enum
    call = ToolCall("c", "pay", '{"rate":0.075,"fee":5,"other":7}')
    (kept,) = said.without_guesses(AssistantMessage(tool_calls=(call,)), [ToolSpec("pay", "", {})]).tool_calls
    assert json.loads(kept.arguments) == {"rate": 0.075, "fee": 5}


def test_the_tool_that_fits_the_question_is_offered_and_those_that_were_called() -> None:
    question = UserMessage("Add two numbers, and tell me the weather")
    called = AssistantMessage(tool_calls=(ToolCall("c", "add", "{}"),))
    assert tools_for(question) == ["add", FINAL_ANSWER]
    assert tools_for(question, called, ToolMessage("c", "9")) == ["get_weather", "add", FINAL_ANSWER]
    # A call for an earlier question counts no more, and without a word in common there is nothing to choose by.
    assert tools_for(question, called, ToolMessage("c", "9"), question) == ["add", FINAL_ANSWER]
    everything = ["get_weather", "add", "sum_up", FINAL_ANSWER]
    assert tools_for(UserMessage("Hello!")) == tools_for() == everything
    assert tools_for(UserMessage("Weather?"), choice="add") == ["get_weather", "add", FINAL_ANSWER]


def test_the_example_stands_after_the_instructions() -> None:
    said = (UserMessage("Hello"),)
    assert [type(message) for message in with_example(said)] == [UserMessage, AssistantMessage, UserMessage]
    for instructions in (SystemMessage("Be brief."), DeveloperMessage("Be brief.")):
        assert with_example((instructions, *said)) == (instructions, *with_example(said))


def test_an_optional_text_that_another_argument_has_already_is_left_out() -> None:
    call = ToolCall("c", "find", '{"title":"Emma","genre":"Emma","pages":5,"most":5}')
    message = AssistantMessage(tool_calls=(call,))
    (kept,) = mentioned("Emma, 5").without_guesses(message, [ToolSpec("find", "", {"required": ["title"]})]).tool_calls
    assert json.loads(kept.arguments) == {"title": "Emma", "pages": 5, "most": 5}


@given(st.text(), st.text())
def test_each_run_that_a_schema_allows_stands_in_the_text(text: str, other: str) -> None:
    said = mentioned(text)
    if said.runs:
        pattern = pattern_of(said)
        for run in said.runs:
            for _, word in run:
                assert pattern.match(word)
        assert not pattern.match(other) or other in text


@given(st.lists(st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6).map(lambda number: round(number, 3)))))
def test_numbers_are_found_as_python_writes_them(numbers: list[float]) -> None:
    assert set(numbers) <= set(
        mentioned(" ".join([f"{number:f}".rstrip("0").rstrip(".") for number in numbers])).numbers
    )
