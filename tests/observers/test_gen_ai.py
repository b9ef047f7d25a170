"""Requests and replies in the words of the conventions, shape by shape."""

import json
from typing import Any

import pytest

from agentkit import AssistantMessage, ChatRequest, ChatResponse, DeveloperMessage, Settings, Step, ToolChoice
from agentkit.core.chat import Choice
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import SystemMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.parts import AudioPart, FilePart, ImagePart, TextPart
from agentkit.observers.gen_ai import agent_input_of, input_of, of_request, of_step, of_usage, output_of


def read(found: Any, name: str) -> Any:
    return json.loads(found[f"gen_ai.{name}"])


def step(*choices: Choice, sent: str | None = None, **more: Any) -> Step:
    request = None if sent is None else HttpRequest(sent, (), bytes)
    reply = ChatResponse(choices, id="r-1", model="m-2026", sent=request) if choices else None
    return Step(choices[0].message if choices else AssistantMessage("Hello"), ToolChoice(), "auto", reply=reply, **more)


def test_what_a_request_asks_for() -> None:
    penalties: Any = {"presence_penalty": -1, "frequency_penalty": 0.5}
    settings = Settings(temperature=0, top_p=1, max_tokens=500, stop="END", n=3, seed=7, **penalties)
    found = of_request(ChatRequest((), settings=settings, response_format={"type": "json_schema"}))
    assert found == {
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.max_tokens": 500,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.choice.count": 3,
        "gen_ai.request.presence_penalty": -1.0,
        "gen_ai.request.frequency_penalty": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.output.type": "json",
    }
    doubles = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
    assert all(type(found[f"gen_ai.request.{name}"]) is float for name in doubles)


def test_one_answer_is_not_counted_and_several_stops_are_listed() -> None:
    settings = Settings(n=1, stop=["a", "b"])
    assert of_request(ChatRequest((), settings=settings)) == {"gen_ai.request.stop_sequences": ("a", "b")}
    assert of_request(ChatRequest(())) == {}


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://api.example.com/v1/chat/completions", "api.example.com", 443),
        ("http://127.0.0.1:8080/v1/chat/completions", "127.0.0.1", 8080),
        ("http://[::1]/v1/chat/completions", "::1", 80),
    ],
)
def test_a_reply_says_who_answered(url: str, host: str, port: int) -> None:
    choices = Choice(AssistantMessage("a"), "stop"), Choice(AssistantMessage("b"), None)
    assert of_step(step(*choices, sent=url, usage=Usage(1, 12, 5, 8))) == {
        "gen_ai.response.id": "r-1",
        "gen_ai.response.model": "m-2026",
        "gen_ai.response.finish_reasons": ["stop", ""],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "server.address": host,
        "server.port": port,
    }


def test_a_reply_that_is_not_known_whole_says_what_is_known() -> None:
    assert of_step(step()) == {}
    assert of_step(step(finish_reason="length")) == {"gen_ai.response.finish_reasons": ["length"]}
    assert "server.address" not in of_step(step(Choice(AssistantMessage("a"))))
    assert of_usage(Usage()) == {}


def test_a_history_has_its_instructions_and_an_agent_has_them_apart() -> None:
    photo = UserMessage((TextPart("What is this?"), ImagePart("https://example.com/a.png")))
    messages = (
        SystemMessage("Be brief."),
        photo,
        AssistantMessage("I look.", (ToolCall("c0", "look", '{"at": ["a"]}'), ToolCall("c1", "look", "{"))),
        ToolMessage("c0", "a cat"),
        ToolMessage("c1", "no", "error"),
        AssistantMessage(refusal="I will not say."),
        UserMessage(""),
    )
    asked = {"type": "text", "content": "What is this?"}
    look = {"type": "tool_call", "name": "look"}
    looks = [{**look, "id": "c0", "arguments": {"at": ["a"]}}, {**look, "id": "c1", "arguments": "{"}]
    told: list[Any] = [
        {"role": "user", "parts": [asked, {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "I look."}, *looks]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": "a cat"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "no"}]},
        {"role": "assistant", "parts": [{"type": "refusal", "content": "I will not say."}]},
        {"role": "user", "parts": []},
    ]
    system = {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}
    request = ChatRequest(messages)
    assert read(input_of(request), "input.messages") == [system, *told]
    assert read(agent_input_of(request), "input.messages") == told
    assert read(agent_input_of(request), "system_instructions") == system["parts"]


def test_an_agent_without_instructions_has_what_was_said() -> None:
    for messages in ((UserMessage("Hello"),), ()):
        assert agent_input_of(ChatRequest(messages)) == input_of(ChatRequest(messages))
    developer = ChatRequest((DeveloperMessage("Be brief."), UserMessage("Hello")))
    assert read(input_of(developer), "input.messages")[0]["role"] == "developer"
    assert read(agent_input_of(developer), "system_instructions")[0]["content"] == "Be brief."


def test_an_image_that_is_sent_along_is_a_blob() -> None:
    request = ChatRequest((UserMessage((ImagePart("data:image/png;base64,iVBOR"),)),))
    (message,) = read(input_of(request), "input.messages")
    assert message["parts"] == [{"type": "blob", "modality": "image", "mime_type": "image/png", "content": "iVBOR"}]


def test_arguments_may_be_as_deep_as_json_may_be() -> None:
    for depth in (1, 200, 201, 202, 1_000):
        arguments = '{"a":' * depth + "1" + "}" * depth
        reply = AssistantMessage(None, (ToolCall("c", "t", arguments),))
        (message,) = read(output_of(step(Choice(reply))), "output.messages")
        assert message["parts"][0]["arguments"] == (arguments if depth > 200 else json.loads(arguments))


def test_each_answer_is_an_output() -> None:
    called = AssistantMessage(None, (ToolCall("c0", "look", "{}"),))
    choices = Choice(AssistantMessage("a"), "stop"), Choice(called, "tool_calls"), Choice(AssistantMessage("b"))
    said = read(output_of(step(*choices)), "output.messages")
    assert [item["finish_reason"] for item in said] == ["stop", "tool_call", ""]
    assert said[0] == {"role": "assistant", "parts": [{"type": "text", "content": "a"}], "finish_reason": "stop"}
    assert read(output_of(step(finish_reason="stop")), "output.messages")[0]["parts"][0]["content"] == "Hello"


def test_reasoning_is_a_part_of_its_own() -> None:
    thought = AssistantMessage("Paris.", extra={"reasoning_content": "It is in France."})
    (message,) = read(output_of(step(Choice(thought, "stop"))), "output.messages")
    assert message["parts"] == [
        {"type": "reasoning", "content": "It is in France."}, {"type": "text", "content": "Paris."},
    ]  # fmt: skip


def test_recordings_and_files() -> None:
    parts = (AudioPart("UklG", "mp3"), FilePart("data:application/pdf;base64,JVBE", "a.pdf"), FilePart(file_id="f1"))
    (message,) = json.loads(str(input_of(ChatRequest((UserMessage(parts),)))["gen_ai.input.messages"]))
    assert message["parts"] == [
        {"type": "blob", "modality": "audio", "mime_type": "audio/mp3", "content": "UklG"},
        {"type": "blob", "modality": "document", "mime_type": "application/pdf", "content": "JVBE"},
        {"type": "file", "modality": "document", "file_id": "f1"},
    ]
