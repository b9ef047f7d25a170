from typing import Any

from agentkit import (
    AssistantMessage,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Step,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolChoice,
    ToolMessage,
    Usage,
    UserMessage,
    Violation,
)
from agentkit.core.chat import ChatResponse, Choice, Retried
from agentkit.viewer import Json, run_of, step_facts, usage_facts

CALLS = (ToolCall("a", "search", '{"q":1}'), ToolCall("b", "send", "{}"))
PIXEL = ImagePart("data:image/png;base64,AAAA")


def items_of(run: Json) -> list[dict[str, Any]]:
    items: Any = run["items"]
    return [*items]


def test_a_reply_has_what_is_known_of_its_request_and_its_calls() -> None:
    reply = AssistantMessage("Let me see.", CALLS, extra={"reasoning_content": "hm"})
    messages: list[Message] = [
        UserMessage("go"),
        reply,
        ToolMessage("a", "cut", full="whole", images=(PIXEL,)),
        ToolMessage("b", "Not run", "refused", by="budget(1)"),
        AssistantMessage("Done."),
    ]
    run = run_of(messages, [{"choice": "auto"}], {(0, "b"): {"seconds": 2.0}}, stop="answer", error=None, seconds=0.0)
    user, first, second = items_of(run)
    assert user == {"kind": "message", "role": "user", "parts": [{"text": "go"}]}
    said = {"kind": "step", "number": 1, "choice": "auto", "text": "Let me see.", "reasoning": "hm"}
    assert {name: value for name, value in first.items() if name != "calls"} == said
    assert first["calls"] == [
        {
            "id": "a",
            "name": "search",
            "arguments": '{"q":1}',
            "outcome": "ok",
            "result": "cut",
            "whole": "whole",
            "images": [{"image": PIXEL.url}],
        },
        {
            "id": "b",
            "name": "send",
            "arguments": "{}",
            "outcome": "refused",
            "result": "Not run",
            "by": "budget(1)",
            "seconds": 2.0,
        },
    ]
    assert second == {"kind": "step", "number": 2, "text": "Done."}
    assert {name: value for name, value in run.items() if name != "items"} == {"stop": "answer", "seconds": 0.0}


def test_what_was_there_before_a_run_is_marked_and_has_no_number() -> None:
    open_reply = AssistantMessage(tool_calls=CALLS[:1])
    messages: list[Message] = [UserMessage("go"), open_reply, ToolMessage("a", "found"), AssistantMessage("Done.")]
    run = run_of(messages, [{"choice": "auto"}], {(-1, "a"): {"began": 0.5}, (0, "a"): {"began": 9.0}}, start=2)
    user, before, step = items_of(run)
    assert (before["before"], "before" in user, "number" in before) == (True, False, False)
    assert (before["calls"][0]["began"], before["calls"][0]["result"]) == (0.5, "found")
    assert (step["number"], "before" in step) == (1, False)


def test_messages_of_every_kind() -> None:
    parts = (TextPart("see"), PIXEL, AudioPart("AAAA", "mp3"), FilePart(file_id="f1"))
    items = items_of(run_of([SystemMessage("be"), UserMessage(parts, "ann", note=True), ToolMessage("x", "lost")]))
    assert items[0] == {"kind": "message", "role": "system", "parts": [{"text": "be"}]}
    shown = [{"text": "see"}, {"image": PIXEL.url}, {"audio": "data:audio/mp3;base64,AAAA"}, {"file": "f1"}]
    assert items[1] == {"kind": "message", "role": "user", "parts": shown, "name": "ann", "note": True}
    assert items[2] == {"kind": "message", "role": "tool", "parts": [{"text": "lost"}]}


def test_the_facts_of_a_step() -> None:
    plain = Step(AssistantMessage("x"), ToolChoice("required"), "required")
    assert step_facts(plain) == {"choice": "required", "by": "required", "usage": {"requests": 1}}
    reply = ChatResponse((Choice(AssistantMessage("x")),), retried=(Retried("RateLimited: slow", 0.1, 2.0),))
    choice = ToolChoice("tool", "a", arguments="{}", by="given('a')")
    step = Step(
        AssistantMessage("x"), choice, "a & b", Violation("empty", "it said nothing"), (), "stop", Usage(), reply
    )
    assert step_facts(step) == {
        "choice": "a",
        "by": "given('a')",
        "policy": "a & b",
        "violation": "it said nothing",
        "finish": "stop",
        "known": True,
        "retried": [{"error": "RateLimited: slow", "after": 0.1, "delay": 2.0}],
        "usage": {"requests": 0},
    }


def test_a_usage_without_what_nobody_reported() -> None:
    assert usage_facts(Usage(2, 10, 5, None, 0.5)) == {
        "requests": 2, "prompt_tokens": 10, "completion_tokens": 5, "cost": 0.5,
    }  # fmt: skip
