from collections.abc import Callable
from typing import Any

import pytest

from agentkit import Agent, AssistantMessage, Price, Result, ToolCall, UserMessage, tool
from agentkit.testing import Call, Scripted, Story, answer, assert_that, calling, calls_of
from agentkit.tool_choice import first


@tool
def search(query: str) -> str:
    """Search."""
    if not query:
        raise ValueError("nothing to search for")
    return f"found {query}"


@tool(approval=True)
def delete(name: str) -> str:
    """Delete."""
    return f"deleted {name}"


def run(*replies: Any, **options: Any) -> Result[str]:
    return Agent(Scripted(*replies), tools=[search, delete], **options).run_sync("Go on.")


TWO = calling(("search", {"query": "a", "more": 1}), ("search", {"query": ""}))
RESULT = run(calling(("search", {"query": "tea"})), TWO, answer("Done."))
DISOBEYED = run("Too early.", calling(("search", {"query": "tea"})), "Done.", tool_choice=first(search))


def test_calls_of_this_run_have_their_order_and_outcomes() -> None:
    calls = calls_of(RESULT)
    assert calls[0] == Call("search", {"query": "tea"}, "ok", "found tea", 1)
    assert [(call.step, call.outcome) for call in calls] == [(1, "ok"), (2, "error"), (2, "error")]
    assert calls_of(RESULT, search) == calls_of(RESULT, "search") == calls
    assert calls_of(RESULT, delete) == ()
    agent = Agent(Scripted(calling(("search", "{oops")), "Done."), tools=[search])
    result = agent.run_sync([*RESULT.messages, UserMessage("And now?")])
    assert [(call.arguments, call.outcome) for call in calls_of(result)] == [({}, "error")]


def test_a_call_that_waits_has_no_outcome_and_the_same_id_twice_is_two_calls() -> None:
    result = run(calling(("delete", {"name": "x"})))
    assert calls_of(result) == (Call("delete", {"name": "x"}, None, "", 1),)
    assert_that(result).called(delete)
    same = [AssistantMessage(tool_calls=(ToolCall("c", "search", f'{{"query":"{query}"}}'),)) for query in "ab"]
    assert [call.answer for call in calls_of(run(*same, "Done."))] == ["found a", "found b"]


def test_assertions_that_hold() -> None:
    priced = run(calling(("search", {"query": "tea"})), calling(("delete", {"name": "x"})))
    assert_that(priced).called("search").before("delete").steps(max=2).obeyed().tokens(max=30)
    story = assert_that(RESULT).never("delete").called(search, times=3).called("search", with_=TEA, times=1)
    story.called("search", with_=lambda arguments: "more" in arguments).called("search", outcome="error", times=2)
    story.called("delete", times=0).steps(max=3)
    assert_that(run("Done.", prices=Price(1, 1))).cost(max=1)


MILK, A, TEA = {"query": "milk"}, {"query": "a"}, {"query": "tea"}
FAILING: list[tuple[Callable[[Story], Story], str]] = [
    (lambda it: it.called("delete"), "delete was never called"),
    (lambda it: it.called("search", with_=MILK), '{"query": "milk"}; it was called with {"query": "tea"}, then {"query": "a"'),
    (lambda it: it.called("search", with_=lambda arguments: False), "search was never called so; it was"),
    (lambda it: it.called("search", with_=A, outcome="cancelled"), """{"query": "a"} and the outcome 'cancelled'"""),
    (lambda it: it.called("search", times=1), "search was called 3 times, expected 1"),
    (lambda it: it.called("search", times=2, with_=TEA), '1 times with {"query": "tea"}, expected 2'),
    (lambda it: it.never(search), 'search was called with {"query": "tea"}, then'),
    (lambda it: it.called("search").before("delete"), "delete was never called"),
    (lambda it: it.called("search", with_=A).before("search"), "search was called before search"),
    (lambda it: it.called("delete", times=0).before("search"), "search was called before delete"),
    (lambda it: it.steps(max=2), "steps of the run: 3, expected at most 2"),
    (lambda it: it.tokens(max=2), "tokens of the run: 45, expected at most 2"),
    (lambda it: it.cost(max=2), "Agent(prices=…)"),
    (lambda it: assert_that(DISOBEYED).obeyed(), "1 replies were rejected"),
]  # fmt: skip


@pytest.mark.parametrize(("assertion", "text"), FAILING, ids=[text[:40] for _, text in FAILING])
def test_a_failing_assertion_explains_the_run(assertion: Any, text: str) -> None:
    with pytest.raises(AssertionError) as caught:
        assertion(assert_that(RESULT))
    assert text in str(caught.value)
    assert str(caught.value).endswith(f"\n\n{(DISOBEYED if 'rejected' in text else RESULT).explain()}")


def test_a_rejected_reply_in_between_is_no_result() -> None:
    result = run(calling(("search", {"query": "tea"})), AssistantMessage(""), "Done.")
    assert ([call.outcome for call in calls_of(result)], len(result.steps)) == (["ok"], 3)
