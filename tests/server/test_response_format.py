"""Structured output that a client asks for, over HTTP; `test_openai` has the official client's way to ask."""

import json
from dataclasses import dataclass
from typing import Any, NotRequired

import pytest
from typing_extensions import TypedDict

from agentkit import Agent, AssistantMessage, ModelRetry, ToolMessage
from agentkit.server import ChatServer
from agentkit.tool_choice import force
from tests.scripted import Scripted, called, said
from tests.server.served import THEIRS, ask, asking, events_of, message_of, search

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

SCHEMA: Any = {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}, "required": ["city", "days"],
    "additionalProperties": False,
}  # fmt: skip
GOOD = {"city": "Rome", "days": 2}


@dataclass
class Trip:
    """A trip."""

    city: str
    days: int


class Loose(TypedDict):
    city: str
    note: NotRequired[str]


def final(answer: Any, name: str = "final_answer") -> AssistantMessage:
    return called((name, {"answer": answer}))


def wanting(schema: Any = SCHEMA, **more: Any) -> dict[str, Any]:
    return asking(response_format={"type": "json_schema", "json_schema": {"name": "trip", "schema": schema, **more}})


async def content(model: Scripted, body: Any, **options: Any) -> Any:
    response = await ask(ChatServer(Agent(model, **options)), body)
    assert response.status_code == 200, response.text
    choice = response.json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    return json.loads(choice["message"]["content"])


async def test_the_schema_is_the_type_of_the_answer_which_is_corrected() -> None:
    model = Scripted(called(("search", {})), final({"city": "Rome", "days": 0}), final(GOOD))
    assert await content(model, wanting(), tools=[search]) == GOOD
    last = model.requests[-1]
    assert [spec.name for spec in last.tools] == ["search", "final_answer"]
    assert last.tool_choice.mode == "required"
    results = [message for message in last.messages if isinstance(message, ToolMessage)]
    assert [result.outcome for result in results] == ["ok", "error"]
    streamed = Scripted(final(GOOD))
    response = await ask(ChatServer(Agent(streamed)), wanting() | {"stream": True})
    assert message_of(events_of(response.text))["content"] == json.dumps(GOOD, separators=(",", ":"))


@pytest.mark.parametrize(("schema", "answer"), [
    ({"type": "string"}, "Rome"), ({"type": "array", "items": {"type": "integer"}}, [1, 2]), ({"enum": ["a", None]}, None),
    ({"$defs": {"T": SCHEMA}, "$ref": "#/$defs/T"}, GOOD), ({"definitions": {"T": SCHEMA}, "type": "array", "items": {"$ref": "#/definitions/T"}}, [GOOD]),
    ({"anyOf": [{"type": "null"}, SCHEMA]}, GOOD), ({}, {"any": ["thing"]}),
])  # fmt: skip
async def test_a_schema_of_any_type(schema: Any, answer: Any) -> None:
    assert await content(Scripted(final(answer)), wanting(schema)) == answer


@pytest.mark.parametrize(("schema", "strict", "sent"), [
    (SCHEMA, True, True), (SCHEMA, None, False), ({"type": "object", "properties": {"city": {}}}, True, False),
    ({"not": {"type": "null"}}, True, False),
])  # fmt: skip
async def test_strict_and_the_description_reach_the_model(schema: Any, strict: bool | None, sent: bool) -> None:
    model = Scripted(final(GOOD))
    assert await content(model, wanting(schema, strict=strict, description="A trip.")) == GOOD
    (spec,) = model.requests[0].tools
    assert spec.strict is sent
    assert spec.description.endswith("A trip.")


async def test_a_name_that_is_taken() -> None:
    theirs = [{"type": "function", "function": {"name": "final_answer"}}]
    assert await content(Scripted(final(GOOD, "final_answer_2")), wanting() | {"tools": theirs}) == GOOD
    model = Scripted(called(("ask_user", {})))
    response = await ask(ChatServer(Agent(model)), wanting() | {"tools": THEIRS})
    assert response.json()["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_json_object_is_a_text_that_is_one() -> None:
    body = asking(response_format={"type": "json_object"})
    model = Scripted(said("It is nice."), said("[1]"), said('```json\n{"a": 1}\n```'))
    assert await content(model, body) == {"a": 1}
    assert (len(model.requests), model.requests[0].tools) == (3, ())
    assert await content(Scripted(called(("search", {})), said("{}")), body, tools=[search], stop_at=search) == {}


async def test_a_typed_agent_takes_what_its_answers_fit() -> None:
    for schema in (SCHEMA | {"properties": {"city": {}, "days": {"type": "number"}}}, {"type": "object"}, {}):
        assert await content(Scripted(called(("final_answer", GOOD))), wanting(schema), output=Trip) == GOOD
    assert (
        await content(
            Scripted(called(("final_answer", GOOD))), asking(response_format={"type": "json_object"}), output=Trip
        )
        == GOOD
    )
    text = json.dumps(GOOD)
    loose: Any = SCHEMA | {"properties": {"city": {}, "days": {}}}
    assert await content(Scripted(said(text)), wanting(loose), output=Trip, output_mode="format") == GOOD
    assert (
        await content(Scripted(final("Rome")), wanting({"type": "string"}), output=str, output_validators=[bool])
        == "Rome"
    )


async def test_what_only_the_answer_shows_is_corrected() -> None:
    wanted: Any = {"type": "object", "properties": {"city": {}, "note": {}}, "required": ["city", "note"]}
    plays = [called(("final_answer", {"city": "Rome"})), called(("final_answer", {"city": "Rome", "note": "x"}))]
    assert await content(Scripted(*plays), wanting(wanted), output=Loose) == {"city": "Rome", "note": "x"}


@pytest.mark.parametrize(("options", "form", "param"), [
    ({}, "text", ""), ({}, {"type": "xml"}, ""), ({}, {"type": "json_schema"}, ".json_schema.schema"),
    ({}, {"type": "json_schema", "json_schema": {"schema": 1}}, ".json_schema.schema"), ({}, {"type": "json_schema", "json_schema": {"schema": {}, "strict": 1}}, ".json_schema.strict"),
    ({}, {"type": "json_schema", "json_schema": {"schema": {}, "description": 1}}, ".json_schema.description"),
    ({}, {"type": "json_schema", "json_schema": {"schema": {"type": "odd"}}}, ".json_schema.schema"),
    ({"output": Trip}, {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {"country": {}}, "required": ["country"]}}}, ".json_schema.schema.properties.country"),
    ({"output": Trip}, {"type": "json_schema", "json_schema": {"schema": SCHEMA}}, ".json_schema.schema.properties.days"),
    ({"output": Loose}, {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {"other": {"type": "odd"}}}}}, ".json_schema.schema"),
    ({"output": list[str]}, {"type": "json_object"}, ""), ({"tool_choice": force(search), "tools": [search], "stop_at": search}, {"type": "json_object"}, ""),
])  # fmt: skip
async def test_what_cannot_be_is_refused_by_name(options: Any, form: Any, param: str) -> None:
    model = Scripted(said("x"))
    response = await ask(ChatServer(Agent(model, **options)), asking(response_format=form))
    assert (response.status_code, response.json()["error"]["param"]) == (400, f"response_format{param}")
    assert model.requests == []


async def test_an_answer_that_stays_invalid_is_no_answer() -> None:
    response = await ask(ChatServer(Agent(Scripted(final({})))), wanting())
    assert (response.status_code, response.headers["x-should-retry"]) == (502, "false")


async def test_the_agents_validators_of_texts_check_what_a_client_asks_for() -> None:
    async def no_paris(text: str) -> None:
        if "Paris" in text:
            raise ModelRetry("Not Paris.")

    bad = {"city": "Paris", "days": 2}
    model = Scripted(final(bad), final(GOOD))
    assert await content(model, wanting(), output_validators=[no_paris]) == GOOD
    model = Scripted(said(json.dumps(bad)), said(json.dumps(GOOD)))
    form = asking(response_format={"type": "json_object"})
    assert await content(model, form, output_validators=[no_paris]) == GOOD
