import io

from rich.console import Console

from agentkit import AssistantMessage, AudioPart, FilePart, ImagePart, Message, TextPart
from agentkit.cli.live_view import console_for
from agentkit.cli.transcript import Entry, print_transcript, total_usage, transcript_of
from agentkit.core.messages import DeveloperMessage, SystemMessage, ToolCall, ToolMessage, Usage, UserMessage

CALL = ToolCall("1", "f", '{"a": 1}')


def printed(*story: Entry, whole: bool = False) -> str:
    out = io.StringIO()
    print_transcript(console_for(out), story, whole=whole)
    return out.getvalue()


def test_a_conversation_is_printed() -> None:
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
    assert printed(*transcript_of(messages)) == (
        "system  Be brief.\nsystem  Be brief.\nyou     Hello\n        there\nyou     Look:\n"
        f"        [image https://example.org/{'x' * 40}]\n"
        "1.      Wait.\n        → f(a=1)\n        ← f error: no\nnote    It was cut.\n"
        "2.      refused: I cannot\n3.      (empty)\n4.      → f(a=1)\n        no result yet: f(a=1)\n"
    )


def test_recordings_and_files_are_named() -> None:
    out = io.StringIO()
    parts = (AudioPart("AA=="), FilePart("data:x", "a.pdf"), FilePart("data:x"), FilePart(file_id="f1"))
    print_transcript(console_for(out), transcript_of([UserMessage(parts)]), whole=True)
    assert all(name in out.getvalue() for name in ("[recording, wav]", "[file a.pdf]", "[file]", "[file f1]"))


def test_costs_and_notes_are_printed() -> None:
    hi = AssistantMessage("Hi")
    story = [Entry(hi, Usage(1, 10, 5, cost=0.5), "rejected"), Entry(hi, Usage(1)), Entry(UserMessage(""))]
    costs = "1.      Hi\n        15 tokens, cost 0.5\n        rejected\n2.      Hi\n        usage unknown\nyou\n"
    assert (printed(*story), total_usage(story)) == (costs, Usage(2, 10, 5, cost=0.5))
    assert story[0].to_dict() == {
        "message": {"role": "assistant", "content": "Hi"},
        "usage": {"requests": 1, "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": None, "cost": 0.5},
        "note": "rejected",
    }
    assert Entry(None, note="x").to_dict() == {"message": None, "usage": None, "note": "x"}


def test_a_long_result_is_cut_unless_all_of_it_is_wanted() -> None:
    answer = Entry(ToolMessage("7", "x", full="x" * 700 + "\x1b"))
    assert printed(answer) == f"        ← 7: {'x' * 600}… (701 characters)\n"
    assert printed(answer, whole=True) == f"        ← 7: {'x' * 700}\\u001b\n"
    long = Entry(SystemMessage("x" * 700))
    assert printed(long).endswith("(700 characters)\n")
    assert printed(long, whole=True) == f"system  {'x' * 700}\n"


def test_a_terminal_wraps_texts_beside_their_labels() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=20, color_system=None, legacy_windows=False)
    print_transcript(console, [Entry(UserMessage("Is it raining in Paris?"))])
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == ["you     Is it", "        raining in", "        Paris?"]
