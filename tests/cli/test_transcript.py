import io

from rich.console import Console

from agentkit import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.cli.live_view import console_on
from agentkit.cli.transcript import Told, tell_story, told_of, usage_in

CALL = ToolCall("1", "f", '{"a": 1}')


def told(*story: Told, whole: bool = False) -> str:
    out = io.StringIO()
    tell_story(console_on(out), story, whole=whole)
    return out.getvalue()


def test_a_conversation_is_told() -> None:
    messages: list[Message] = [
        SystemMessage("Be brief."),
        DeveloperMessage("Be brief."),
        UserMessage("Hello\nthere"),
        UserMessage((TextPart("Look:"), ImagePart("https://example.org/" + "x" * 99))),
        AssistantMessage("Wait.", (CALL,)),
        ToolMessage("1", "no", "error"),
        UserMessage("It was cut.", note=True),
        AssistantMessage(None, (), "I cannot"),
        AssistantMessage(""),
        AssistantMessage(None, (CALL,)),
    ]
    assert told(*told_of(messages)) == (
        "system  Be brief.\n"
        "system  Be brief.\n"
        "you     Hello\n"
        "        there\n"
        "you     Look:\n"
        f"        [image https://example.org/{'x' * 40}]\n"
        "1.      Wait.\n"
        "        → f(a=1)\n"
        "        ← f error: no\n"
        "note    It was cut.\n"
        "2.      declined: I cannot\n"
        "3.      (nothing)\n"
        "4.      → f(a=1)\n"
        "        has no answer yet: f(a=1)\n"
    )


def test_costs_and_notes_are_told() -> None:
    story = [
        Told(AssistantMessage("Hi"), Usage(1, 10, 5, cost=0.5), "not taken"),
        Told(AssistantMessage("Hi"), Usage(1)),
        Told(UserMessage("")),
    ]
    assert (
        told(*story)
        == "1.      Hi\n        15 tokens, cost 0.5\n        not taken\n2.      Hi\n        cost unknown\nyou\n"
    )
    assert usage_in(story) == Usage(2, 10, 5, cost=0.5)
    assert story[0].data() == {
        "message": {"role": "assistant", "content": "Hi"},
        "usage": {"requests": 1, "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": None, "cost": 0.5},
        "note": "not taken",
    }
    assert Told(None, note="x").data() == {"message": None, "usage": None, "note": "x"}


def test_a_long_result_is_cut_unless_all_of_it_is_wanted() -> None:
    answer = Told(ToolMessage("7", "x", full="x" * 700 + "\x1b"))
    assert told(answer) == f"        ← 7: {'x' * 600}… (701 characters)\n"
    assert told(answer, whole=True) == f"        ← 7: {'x' * 700}�\n"
    long = Told(SystemMessage("x" * 700))
    assert told(long).endswith("(700 characters)\n")
    assert told(long, whole=True) == f"system  {'x' * 700}\n"


def test_a_terminal_wraps_texts_beside_their_labels() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=20, color_system=None, legacy_windows=False)
    tell_story(console, [Told(UserMessage("Is it raining in Paris?"))])
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "you     Is it",
        "        raining in",
        "        Paris?",
    ]
