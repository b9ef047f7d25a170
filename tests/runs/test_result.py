from dataclasses import replace

import pytest

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
    assert lines[0] == "1. required (by first(required, then=auto))"
    assert lines[1] == "   said Let me see."
    assert lines[2].startswith('   called search({"query": "a long question')
    assert lines[2].endswith("…)")
    assert lines[3:] == [
        "   ok: found it",
        "2. auto (by first(required, then=auto))",
        "   said Done.",
        "Ended with an answer after 2 requests, 1,234 tokens.",
    ]


def test_what_is_not_known_is_not_told() -> None:
    assert result(Usage(2)).explain().splitlines()[-1] == "Ended with an answer after 2 requests."


def test_the_new_messages_are_those_of_the_run() -> None:
    assert result(Usage()).new_messages == result(Usage()).messages[1:]
    assert result(Usage()).violations == 0


@pytest.mark.parametrize(
    ("stop", "ended"),
    [
        ("answer", "Ended with an answer after 2 requests."),
        ("tool", "Ended with a tool's result after 2 requests."),
        ("cut", "Ended with an answer that was cut after 2 requests."),
        ("refusal", "Ended with a refusal after 2 requests."),
        ("empty", "Ended with nothing said after 2 requests."),
    ],
)
def test_how_it_ended_is_told(stop: Stop, ended: str) -> None:
    assert replace(result(Usage(2)), stop=stop).explain().splitlines()[-1] == ended


def test_what_was_not_taken_and_what_was_refused_is_told() -> None:
    note = UserMessage("Your reply was empty.", note=True)
    steps = (
        Step(AssistantMessage(), ToolChoice("auto"), "auto", Violation("empty", "it said nothing"), (note,)),
        Step(AssistantMessage(refusal="I cannot\nhelp."), ToolChoice("auto"), "auto"),
    )
    messages = (UserMessage("go"), steps[0].message, note, steps[1].message)
    found = Result("I cannot help.", messages, steps, Usage(2), "refusal", 1)
    assert found.explain().splitlines() == [
        "1. auto (by auto)",
        "   not taken: it said nothing; asked again",
        "2. auto (by auto)",
        "   refused: I cannot help.",
        "Ended with a refusal after 2 requests.",
    ]
    assert found.violations == 1


def test_calls_that_were_open_before_the_run_are_not_told() -> None:
    """A run that begins with open calls answers them before its first step."""
    messages = (
        UserMessage("go"),
        AssistantMessage(tool_calls=(CALL,)),
        ToolMessage("c0", "found"),
        AssistantMessage("x"),
    )
    steps = (Step(AssistantMessage("x"), ToolChoice("auto"), "auto"),)
    assert Result("x", messages, steps, Usage(1), start=2).explain().splitlines() == [
        "1. auto (by auto)",
        "   said x",
        "Ended with an answer after 1 request.",
    ]
