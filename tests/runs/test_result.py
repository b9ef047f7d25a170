from dataclasses import replace
from typing import get_args

import pytest

from agentkit import Agent, AssistantMessage, Result, State, Step, ToolCall, ToolChoice, ToolMessage, Usage, UserMessage
from agentkit.core.state import Stop, Violation
from agentkit.tool_choice import Call, Policy, Verdict, allow, budget, deny, first, given, where
from tests.scripted import Scripted, called, said

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


@pytest.mark.anyio
async def test_a_run_says_who_decided() -> None:
    def small(call: Call, state: State) -> bool:
        return int(call["n"]) < 3

    def own(call: Call) -> bool:
        return int(call["n"]) > 1

    def pay(n: int) -> str:
        return f"paid {n}"

    class Odd(Policy):
        def judge(self, call: Call, state: State) -> Verdict:
            return deny("too small") if call.name == "pay" and not own(call) else allow

    def look() -> str:
        return "looked"

    plays = [called(("pay", {"n": 9}), ("pay", {"n": 1}), ("pay", {"n": 2}), ("look", {})), said("done")]
    choice = first(given("look")) & budget(3) & where("pay", small) & where("pay", lambda call, _: False, "ask") & Odd()
    agent = Agent(Scripted(*plays), tools=[pay, look], tool_choice=choice)
    result = await agent.run("go", approver=lambda call: True)
    assert [step.decided_by for step in result.steps] == ["first(given('look'))", repr(agent.tool_choice), "budget(3)"]
    lines = result.explain().splitlines()
    assert lines[:3] == [
        "1. look (by first(given('look')))",
        "   known, not asked: look({})",
        "   ok: looked",
    ]
    by = [message.by for message in result.messages if isinstance(message, ToolMessage)]
    assert by == ["", "where('pay', small)", "Odd()", "where('pay', <lambda>, otherwise='ask')", ""]
    assert sum("refused by where('pay', small)" in line for line in lines) == 1
    assert lines[-1].startswith("Ended with an answer after 2 requests")


def test_a_result_is_printed_as_its_output_and_a_paused_one_as_what_waits() -> None:
    done = result(Usage(2))
    assert str(done) == "Done."
    assert "Result(" in repr(done)
    waiting = replace(done, messages=done.messages[:2], stop="paused")
    assert str(waiting).startswith('waits for approval: search(query="a long question')
    shown = replace(done, output="<script>\x1b[2J")._repr_html_()
    assert "&lt;script&gt;\\u001b[2J" in shown
    assert "<script>" not in shown
    assert "first(required" in shown
