from dataclasses import replace
from typing import get_args

from agentkit import AssistantMessage, Result, Step, ToolCall, ToolChoice, ToolMessage, Usage, UserMessage
from agentkit.core.state import Stop, Violation

CALL = ToolCall("c0", "search", '{"query": "a long question about ' + "many " * 40 + 'things"}')


def result(usage: Usage) -> Result[str]:
    steps = (
        Step(AssistantMessage("Let me see.", (CALL,)), ToolChoice("required"), "first(required, then=auto)"),
        Step(AssistantMessage("Done."), ToolChoice("auto"), "first(required, then=auto)"),
    )
    messages = (UserMessage("go"), steps[0].message, ToolMessage("c0", "found\nit"), steps[1].message)
    return Result("Done.", messages, steps, usage, start=1)


def test_a_run_is_explained_in_lines_that_a_person_reads() -> None:
    lines = result(Usage(2, 1000, 234)).explain().splitlines()
    assert [line[:30] for line in lines] == [
        "1. required (by first(required",
        "   said Let me see.",
        '   called search({"query": "a ',
        "   ok: found it",
        "2. auto (by first(required, th",
        "   said Done.",
        "Ended with an answer after 2 r",
    ]
    assert lines[2].endswith("…)")
    assert "1,234 tokens" in lines[-1]
    assert "tokens" not in result(Usage(2)).explain()


def test_the_new_messages_are_those_of_the_run() -> None:
    assert result(Usage()).new_messages == result(Usage()).messages[1:]
    assert result(Usage()).violations == 0


def test_every_end_has_its_words() -> None:
    words = {replace(result(Usage(2)), stop=stop).explain().splitlines()[-1] for stop in get_args(Stop)}
    assert len(words) == len(get_args(Stop))


def test_rejected_replies_refusals_and_waiting_calls_are_explained() -> None:
    note = UserMessage("Your reply was empty.", note=True)
    steps = (
        Step(AssistantMessage(), ToolChoice("auto"), "auto", Violation("empty", "it said nothing"), (note,)),
        Step(AssistantMessage(refusal="I cannot\nhelp.", tool_calls=(CALL,)), ToolChoice("auto"), "auto"),
    )
    # The run began with open calls, which are answered before its first step, and which are no part of its story.
    before = (UserMessage("go"), AssistantMessage(tool_calls=(CALL,)), ToolMessage("c0", "found"))
    paused = Result("", (*before, steps[0].message, note, steps[1].message), steps, Usage(2), "paused", 2)
    lines = paused.explain().splitlines()
    assert [line for line in lines if "search" not in line] == [
        "1. auto (by auto)",
        "   rejected: it said nothing; asked again",
        "2. auto (by auto)",
        "   refused: I cannot help.",
        "   waits for approval",
        "Ended with calls that wait for approval after 2 requests.",
    ]
    assert (paused.violations, paused.pending) == (1, (CALL,))
