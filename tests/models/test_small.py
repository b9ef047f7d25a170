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
from agentkit.models.mentions import may_begin
from agentkit.models.small import Mentioned, asks_for_call, narrowed, with_example


def mentioned(*texts: str) -> Mentioned:
    return Mentioned.by([UserMessage(text) for text in texts])


def restricted(said: Mentioned, schema: Mapping[str, Any]) -> Any:
    """Return a schema as it is for a parameter that a tool requires."""
    parameters = {"type": "object", "properties": {"x": schema, "y": schema}, "required": ["x"]}
    (tool,) = said.restricted([ToolSpec("look_up", "", parameters)])
    properties: Any = tool.parameters["properties"]
    assert properties["y"] == (
        {"maxItems": max(said.listed, schema.get("minItems", 0)), **schema} if schema.get("type") == "array" else schema
    )
    return properties["x"]


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
    assert "enum" not in restricted(mentioned(" ".join(map(str, range(51)))), {"type": "integer"})


def pattern_of(said: Mentioned) -> "re.Pattern[str]":
    return re.compile(restricted(said, {"type": "string"})["pattern"])


def test_a_text_is_a_run_of_words() -> None:
    pattern = pattern_of(mentioned('Find "The Alchemist" in New York, D.C.', "tools/x.csv ($5) of 'X Inc.' in"))
    for run in ("The Alchemist", "New York", "New York, D.C", "D.C", "tools/x.csv", "X Inc"):
        assert pattern.match(run), run
    for other in (
        "",
        "Alchemy",
        "Alchemist in",
        "in New",
        "Find The",
        "York D.C",
        "tools/x.csv ($5",
        "X Inc.' in",
    ):
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


def test_a_question_about_a_tool_is_no_small_talk() -> None:
    specs = (ToolSpec("get_weather", "Look up the weather.", {}), ToolSpec(FINAL_ANSWER, "Be nice and brief.", {}))
    called = AssistantMessage(tool_calls=(ToolCall("c", "get_weather", "{}"),))

    def asks(*messages: Message) -> bool:
        return asks_for_call(ChatRequest(messages, specs))

    question = UserMessage("Look up what the weather is")
    assert asks(question)
    assert asks(UserMessage("Hi"), AssistantMessage("Hello!"), question)
    assert not asks(question, called, ToolMessage("c", "sun"))
    assert not asks(UserMessage("The weather is of no interest, be nice and brief."))
    assert not asks(UserMessage("Thanks for looking the weather up!"))
    assert not asks(UserMessage(""))
    assert not asks()


def test_the_example_stands_after_the_instructions() -> None:
    said = (UserMessage("Hello"),)
    assert [type(message) for message in with_example(said)] == [UserMessage, AssistantMessage, UserMessage]
    for instructions in (SystemMessage("Be brief."), DeveloperMessage("Be brief.")):
        assert with_example((instructions, *said)) == (instructions, *with_example(said))


def test_an_optional_value_that_another_argument_has_already_is_left_out() -> None:
    call = ToolCall("c", "find", '{"title":"Emma","genre":"Emma","pages":5,"most":5}')
    message = AssistantMessage(tool_calls=(call,))
    tools = [ToolSpec("find", "", {"required": ["title"]})]
    for text, most in (("Emma, 5", {}), ("Emma, 5 or 5", {"most": 5})):
        (kept,) = mentioned(text).without_guesses(message, tools).tool_calls
        assert json.loads(kept.arguments) == {"title": "Emma", "pages": 5, **most}


@given(st.text(), st.text())
def test_each_run_that_a_schema_allows_stands_in_the_text(text: str, other: str) -> None:
    said = mentioned(text)
    if any(may_begin(run, at) for run in said.runs for at in range(len(run))):
        pattern = pattern_of(said)
        for run in said.runs:
            for at, (_, word) in enumerate(run):
                assert pattern.match(word) or not may_begin(run, at)
        assert not pattern.match(other) or other in text


NUMERIC: dict[str, Any] = {}


def arguments_for(text: str, required: str, optional: str = "", schemas: Mapping[str, Any] = NUMERIC) -> dict[str, Any]:
    """Return what a call may have for some arguments: the values of each, or nothing where it may be anything."""
    properties = {name: schemas.get(name, {"type": "number"}) for name in [*required.split(), *optional.split()]}
    parameters = {"type": "object", "properties": properties, "required": required.split()}
    (tool,) = mentioned(text).restricted([ToolSpec("look_up", "", parameters)])
    found: Any = tool.parameters
    return {name: found["properties"][name].get("enum") for name in found["required"]}


def test_a_number_belongs_to_the_parameter_that_is_named_beside_it() -> None:
    text = "Equity of $10, net income of $2 and 7 paid, for 5 years at 4 percent interest"
    names = "income equity years interest other"
    assert arguments_for(text, names) == {"income": [2], "equity": [10], "years": [5], "interest": [0.04], "other": [7]}
    # A name says more than a description, which only a required one is known by.
    schemas: dict[str, dict[str, object]] = {
        "most": {"type": "integer", "description": "How many years?"},
        "fee": {"type": "integer", "description": "What is paid."},
    }
    assert arguments_for(text, "most years", schemas=schemas) == {"most": [10, 2, 7, 4], "years": [5]}
    assert arguments_for(text, "most", "fee", schemas=schemas) == {"most": [5]}
    assert arguments_for(text, "fee", schemas=schemas) == {"fee": [7]}


def test_numbers_that_nothing_names_belong_to_the_parameters_in_order() -> None:
    assert arguments_for("sides of 5, 4 and 3", "a b c") == {"a": [5], "b": [4], "c": [3]}
    assert arguments_for("these two: 12 and 15", "a b") == {"a": [12], "b": [15]}
    assert arguments_for("two or 3", "a b") == {"a": [2], "b": [3]}
    assert arguments_for("5, 4 and 3", "a b") == {"a": [5, 4, 3], "b": [5, 4, 3]}
    assert arguments_for("5", "a b") == {"a": [5], "b": [5]}
    assert arguments_for("mass 5", "mass a") == {"mass": [5], "a": [5]}
    assert arguments_for("none", "a") == {"a": None}


def test_numbers_belong_to_parameters_only_until_a_tool_was_called() -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in "ab"},
        "required": ["a", "b"],
    }
    question, called = UserMessage("Is b 7?"), AssistantMessage(tool_calls=(ToolCall("c", "look_up", "{}"),))
    failed = ToolMessage("c", "There is no b 7, only 8.", "error")

    def values(*messages: Message) -> list[list[int]]:
        (tool,) = Mentioned.by(messages).restricted([ToolSpec("look_up", "", schema)])
        properties: Any = tool.parameters["properties"]
        return [properties[name]["enum"] for name in "ab"]

    assert values(UserMessage("a is 1, b is 2"), question) == [[1, 2], [7]]
    assert (
        values(question, called, failed)
        == values(question, called, failed, UserMessage("Again.", note=True))
        == [[7, 8]] * 2
    )


def test_an_optional_argument_that_is_named_is_required() -> None:
    assert arguments_for("at least 4.5 stars, 3 of them", "", "stars most") == {"stars": [4.5]}
    assert arguments_for("at least 4.5 stars", "", "stars", {"stars": {"type": "integer"}}) == {}
    assert arguments_for("max 3 of them under $100", "", "max_price") == {}
    kinds: dict[str, dict[str, object]] = {
        "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
        "kinds": {"type": "array", "items": {"type": "string", "enum": ["War", "Pet friendly", "Peace"]}},
        "mode": {"type": "string", "description": "One of 'fast', \"slow\" or 'a'."},
        "equal_variance": {"type": "boolean"},
    }
    text = "Fast, pet-friendly and about wars, in Celsius, with equal variances"
    named = {"unit": ["celsius"], "kinds": [["War", "Pet friendly"]], "mode": ["fast"], "equal_variance": [True]}
    assert arguments_for(text, "", " ".join(kinds), schemas=kinds) == named
    assert arguments_for("Equal things, friendly people", "", " ".join(kinds), schemas=kinds) == {}
    # A question with a word such as `not` names nothing, and what is required may be anything but another choice.
    assert arguments_for(f"{text}, but not today", "", " ".join(kinds), schemas=kinds) == {}
    named |= {"mode": None, "equal_variance": None}
    assert arguments_for(text, " ".join(kinds), schemas=kinds) == named
    assert arguments_for("fast", "", "mode", schemas={"mode": {"type": "string", "description": "As 'fast'."}}) == {}
    kinds["kinds"]["minItems"] = 3
    assert "kinds" not in arguments_for(text, "", "kinds", schemas=kinds)


def test_what_was_named_before_does_not_count() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"unit": {"type": "string", "enum": ["celsius", "kelvin"]}},
    }
    (tool,) = mentioned("In kelvin", "And in celsius").restricted([ToolSpec("look_up", "", schema)])
    properties: Any = tool.parameters["properties"]
    assert properties["unit"]["enum"] == ["celsius"]
    said = Mentioned.by([UserMessage("In kelvin"), AssistantMessage("Where?")])
    assert said.restricted([ToolSpec("look_up", "", schema)])[0].parameters["properties"] == schema["properties"]


def test_numbers_are_within_their_bounds() -> None:
    assert restricted(mentioned("5 or 12"), {"type": "integer", "minimum": 10})["enum"] == [12]
    assert restricted(mentioned("5 or 12"), {"type": "number", "exclusiveMaximum": 12})["enum"] == [5]
    assert "enum" not in restricted(mentioned("5"), {"type": "integer", "exclusiveMinimum": 5})
    assert "enum" not in restricted(mentioned("5"), {"type": "integer", "exclusiveMinimum": 0, "maximum": 9})
    assert restricted(mentioned("red"), {"type": "array", "items": {"type": "string"}, "minItems": 2})["maxItems"] == 2


def again(said: Mentioned, arguments: dict[str, object], name: str = "find") -> dict[str, Any] | None:
    """Return the schemas for another try."""
    properties: dict[str, Any] = {
        name: {"type": "number" if name == "n" else "string"} for name in (*arguments, "more")
    }
    properties["kind"] = {"type": "string", "enum": ["sea", "lake"]}
    call = ToolCall("c", "find", json.dumps(arguments))
    tools = [ToolSpec(name, "", {"type": "object", "properties": properties, "required": [*arguments]})]
    tool = said.repeated(AssistantMessage(tool_calls=(call,)), tools)
    parameters: Any = tool and tool.parameters
    assert parameters is None or parameters["required"] == [*arguments] == [*parameters["properties"]]
    schemas: dict[str, Any] | None = parameters and parameters["properties"]
    return schemas


def test_a_text_that_a_call_has_already_is_asked_for_again() -> None:
    said = mentioned("How good is Old Town in Premier League?")
    schemas = again(said, {"team": "Old_Town", "n": 3, "league": "Old_Town"})
    assert schemas is not None
    assert (schemas["team"], schemas["n"]) == ({"const": "Old_Town"}, {"const": 3})
    assert re.fullmatch(schemas["league"]["pattern"], "Premier League")
    assert not re.fullmatch(schemas["league"]["pattern"], "Town")
    assert again(said, {"team": "Old Town", "league": "Premier League"}) is None
    assert again(said, {"kind": "lake", "type": "sea", "n": 3}) is None
    assert again(mentioned("Old Town"), {"team": "Old Town", "league": "Old Town"}) is None  # there is nothing else
    assert again(mentioned("From Rome to Rome by bus"), {"here": "Rome", "there": "Rome"}) is None
    assert (
        again(mentioned("Find a trip. A trip that ends where it begins, in Rome"), {"here": "Rome", "there": "Rome"})
        is None
    )
    schemas = again(mentioned("Trains from Rome to Venice"), {"here": "Rome", "there": "Rome"})
    assert schemas is not None
    assert re.fullmatch(schemas["there"]["pattern"], "Venice")
    assert again(said, {"team": "Old Town", "league": "Old Town"}, FINAL_ANSWER) is None
    cut = AssistantMessage(tool_calls=(ToolCall("c", "find", "{"),))
    assert said.repeated(cut, [ToolSpec("find", "", {})]) is None
    assert said.repeated(AssistantMessage("Hello."), []) is None
