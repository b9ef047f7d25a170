import json
from typing import Any

import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ChatClient,
    ContentFiltered,
    IncompleteReply,
    Message,
    ModelError,
    Result,
    State,
    Step,
    ToolCall,
    ToolChoice,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.state import Violation
from agentkit.runs.finish import answer_of, check_ended, cut_call, end_of, is_cut_answer, is_empty, with_tool_names
from agentkit.testing import Raw
from tests.endpoint import Endpoint, Json, body_of, calls, fault_in, serving, text
from tests.strict_endpoints import refusal_of_openai, refusal_of_vllm, strictly

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("streamed", [False, True])]

ran: list[str] = []


def book(city: str) -> str:
    ran.append(city)
    return f"booked {city}"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def cut(content: str | None = None, *made: tuple[str, str], reason: str = "length") -> Json:
    """A reply that its length limit cut, perhaps in a call."""
    return (
        {**calls(*made, content=content), "finish_reason": reason}
        if made
        else text(content or "", finish_reason=reason)
    )


def agent_at(endpoint: Endpoint, **options: Any) -> Agent:
    return Agent(ChatClient("m", base_url=endpoint.url, retries=0), tools=[book], **options)


async def run(agent: Agent, *, streamed: bool, prompt: str | tuple[Message, ...] = "go") -> Result[str]:
    if not streamed:
        return await agent.run(prompt)
    async with agent.stream(prompt) as under_way:
        async for _ in under_way:
            pass
    return under_way.result


async def can_be_gone_on_with(error: ModelError, *, streamed: bool) -> list[Json]:
    """Send what a run had done to an endpoint that refuses what is not right."""
    assert error.partial is not None
    messages = error.partial.messages
    assert fault_in([message.to_dict() for message in messages]) is None
    for refusal in (refusal_of_openai, refusal_of_vllm):
        with serving(strictly(refusal, reply=text("at last"))) as endpoint:
            result = await run(agent_at(endpoint), streamed=streamed, prompt=messages)
        assert result.output == "at last"
    return endpoint.requests


async def test_an_answer_that_was_cut_ends_the_run(*, streamed: bool) -> None:
    replies = [calls(("book", {"city": "Paris"})), cut("The hotel is ")]
    with serving(*replies) as endpoint, pytest.raises(IncompleteReply) as caught:
        await run(agent_at(endpoint), streamed=streamed)
    error = caught.value
    assert (error.text, error.calls) == ("The hotel is ", ())
    assert str(error) == (
        "its answer was cut by its length limit ('length'); allow more: Settings(max_tokens=…). To have a cut answer "
        'continued: Agent(on_truncated="continue"); to take it as it is: Agent(on_truncated="accept")'
    )
    assert error.partial
    assert error.partial.usage.requests == 2
    requests = await can_be_gone_on_with(error, streamed=streamed)
    assert [message["content"] for message in requests[0]["messages"][-2:]] == [
        "The hotel is ",
        "Your answer was cut. Go on exactly where it ends, and repeat nothing.",
    ]


@pytest.mark.parametrize("pieces", [["It is", " 18 degrees."], ["It", " is", " 18 degrees."]])
async def test_an_answer_that_was_cut_is_continued(pieces: list[str], *, streamed: bool) -> None:
    with serving(*map(cut, pieces[:-1]), text(pieces[-1])) as endpoint:
        result = await run(agent_at(endpoint, on_truncated="continue"), streamed=streamed)
    assert (result.output, result.stop, result.violations) == ("It is 18 degrees.", "answer", len(pieces) - 1)
    note = "Your answer was cut. Go on exactly where it ends, and repeat nothing."
    assert [message["content"] for message in endpoint.requests[-1]["messages"]][1:] == [
        each for piece in pieces[:-1] for each in (piece, note)
    ]
    lines = result.explain().splitlines()
    assert lines[:3] == [
        "1. auto (by auto & no_repeat(5))",
        "   said It is" if len(pieces) == 2 else "   said It",
        "   not taken: its answer was cut by its length limit; asked again",
    ]
    assert lines[-1].startswith(f"Ended with an answer after {len(pieces)} requests")


async def test_an_answer_is_continued_a_bounded_number_of_times(*, streamed: bool) -> None:
    with serving(cut("a"), cut("b"), cut("c"), cut("d")) as endpoint:
        with pytest.raises(IncompleteReply) as caught:
            await run(agent_at(endpoint, on_truncated="continue"), streamed=streamed)
        assert len(endpoint.requests) == 3
    assert caught.value.text == "abc"
    await can_be_gone_on_with(caught.value, streamed=streamed)
    with serving(cut("a"), text("b")) as endpoint, pytest.raises(IncompleteReply, match="its answer was cut"):
        await run(agent_at(endpoint, on_truncated="continue", max_corrections=0), streamed=streamed)


async def test_calls_between_do_not_belong_to_the_answer(*, streamed: bool) -> None:
    with serving(
        cut("Let me "), calls(("book", {"city": "Paris"}), content="book."), cut("Boo"), text("ked.")
    ) as endpoint:
        result = await run(agent_at(endpoint, on_truncated="continue"), streamed=streamed)
    assert result.output == "Booked."
    assert ran == ["Paris"]


async def test_an_answer_that_was_cut_is_taken_as_it_is(*, streamed: bool) -> None:
    with serving(cut("It is")) as endpoint:
        result = await run(agent_at(endpoint, on_truncated="accept", max_corrections=0), streamed=streamed)
    assert (result.output, result.stop, result.violations) == ("It is", "cut", 0)
    assert result.explain().splitlines()[-1].startswith("Ended with an answer that was cut after 1 request")
    assert result.steps[-1].finish_reason == "length"


async def test_a_text_that_was_no_answer_does_not_belong_to_the_answer(*, streamed: bool) -> None:
    def must(state: State) -> str:
        return "required" if not state.steps else "auto"

    with serving(cut("I think"), text("18 degrees.")) as endpoint:
        result = await run(agent_at(endpoint, on_truncated="continue", tool_choice=must), streamed=streamed)
    assert result.output == "18 degrees."
    assert "not taken: it answered where a tool must be called; asked again" in result.explain()


@pytest.mark.parametrize("arguments", ['{"city": "Par', "", '{"city": "Paris"', '{"city"'])
async def test_a_call_that_was_cut_is_not_run_and_asked_for_again(arguments: str, *, streamed: bool) -> None:
    made = [("book", '{"city": "Rome"}'), ("book", arguments)]
    with serving(cut(None, *made), calls(("book", {"city": "Paris"})), text("done")) as endpoint:
        result = await run(agent_at(endpoint), streamed=streamed)
    if arguments:
        assert ran == ["Paris"]
        answers = [message for message in result.messages if isinstance(message, ToolMessage)]
        assert [answer.outcome for answer in answers] == ["refused", "refused", "ok"]
        assert {answer.content for answer in answers[:2]} == {
            "Not run: the reply was cut by its length limit before the call of book was complete; make it shorter, or do it in several calls."
        }
        story = result.explain()
        assert (
            "not taken: the reply was cut by its length limit before the call of book was complete; asked again"
            in story
        )
    else:
        assert ran == ["Rome", "Paris"]  # no arguments at all are none, and those are explained
    assert result.output == "done"


async def test_a_call_is_cut_a_bounded_number_of_times(*, streamed: bool) -> None:
    with serving(cut("I book", ("book", '{"city": "P'))) as endpoint:
        with pytest.raises(IncompleteReply, match="before the call of book was complete") as caught:
            await run(agent_at(endpoint), streamed=streamed)
        assert len(endpoint.requests) == 3
    assert ran == []
    assert [call.name for call in caught.value.calls] == ["book"]
    assert caught.value.text == "I book"
    await can_be_gone_on_with(caught.value, streamed=streamed)
    with serving(cut(None, ("book", '{"city": "P'))) as endpoint:
        with pytest.raises(IncompleteReply) as caught:
            await run(agent_at(endpoint, max_corrections=0), streamed=streamed)
        assert len(endpoint.requests) == 1
    await can_be_gone_on_with(caught.value, streamed=streamed)


async def test_a_call_that_is_whole_is_run_though_the_reply_was_cut(*, streamed: bool) -> None:
    with serving(cut(None, ("book", '{"city": "Paris"}')), text("done")) as endpoint:
        result = await run(agent_at(endpoint), streamed=streamed)
    assert (result.output, ran, result.violations) == ("done", ["Paris"], 0)


@pytest.mark.parametrize("nothing", ["", "  \n"])
async def test_a_reply_that_says_nothing_is_asked_for_again(nothing: str, *, streamed: bool) -> None:
    with serving(text(nothing), text("done")) as endpoint:
        result = await run(agent_at(endpoint), streamed=streamed)
    assert (result.output, result.stop, result.violations) == ("done", "answer", 1)
    assert endpoint.requests[1]["messages"][-1]["content"] == "Your reply was empty. Answer, or call a tool."
    assert "not taken: it said nothing; asked again" in result.explain()
    with serving(text(nothing)) as endpoint:
        result = await run(agent_at(endpoint), streamed=streamed)
        assert len(endpoint.requests) == 3
    assert (result.output.strip(), result.violations) == ("", 2)
    with serving(text(nothing)) as endpoint:
        result = await run(agent_at(endpoint, max_corrections=0), streamed=streamed)
        assert len(endpoint.requests) == 1
    assert result.explain().splitlines()[-1].startswith("Ended with nothing said after 1 request")
    assert (result.output.strip(), result.stop) == ("", "empty")


async def test_what_was_cut_before_it_said_anything(*, streamed: bool) -> None:
    """As a model that thinks does when its tokens are too few."""
    with serving(cut("")) as endpoint, pytest.raises(IncompleteReply) as caught:
        await run(agent_at(endpoint), streamed=streamed)
    await can_be_gone_on_with(caught.value, streamed=streamed)
    with serving(cut(""), text("done")) as endpoint:
        assert (await run(agent_at(endpoint, on_truncated="accept"), streamed=streamed)).output == "done"


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY"])
async def test_an_answer_that_a_filter_stopped_ends_the_run(reason: str, *, streamed: bool) -> None:
    filtered = cut("How to ", ("book", '{"city": "Paris"}'), reason=reason)
    with serving(calls(("book", {"city": "Rome"})), filtered) as endpoint, pytest.raises(ContentFiltered) as caught:
        await run(agent_at(endpoint), streamed=streamed)
    assert str(caught.value) == f"the endpoint's filter stopped the answer ({reason!r})"
    assert (caught.value.text, [call.name for call in caught.value.calls]) == ("How to ", ["book"])
    assert ran == ["Rome"]
    await can_be_gone_on_with(caught.value, streamed=streamed)


async def test_an_answer_that_failed_within_ends_the_run(*, streamed: bool) -> None:
    with serving(cut("It is", reason="network_error")) as endpoint, pytest.raises(IncompleteReply) as caught:
        await run(agent_at(endpoint), streamed=streamed)
    assert caught.value.text == "It is"
    assert "'network_error'" in str(caught.value)
    await can_be_gone_on_with(caught.value, streamed=streamed)


async def test_a_refusal_is_the_output(*, streamed: bool) -> None:
    refusal: Json = {"message": {"role": "assistant", "content": None, "refusal": "I cannot."}, "finish_reason": "stop"}
    # The scripted endpoint streams no refusals, so it is said in a plain body, as some endpoints do.
    plain = Raw([json.dumps(body_of(refusal)).encode()], headers={"content-type": "application/json"})
    with serving(plain) as endpoint:
        result = await run(agent_at(endpoint), streamed=streamed)
    assert (result.output, result.stop, result.violations) == ("I cannot.", "refusal", 0)
    assert isinstance(result.messages[-1], AssistantMessage)
    assert result.messages[-1].refusal == "I cannot."
    assert result.explain().splitlines()[1:] == [
        "   refused: I cannot.",
        "Ended with a refusal after 1 request, 15 tokens.",
    ]
    for refused in (refusal_of_openai, refusal_of_vllm):
        with serving(strictly(refused, reply=text("fine"))) as endpoint:
            again = (*result.messages, UserMessage("And something else?"))
            assert (await run(agent_at(endpoint), streamed=streamed, prompt=again)).output == "fine"


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("get weather!", "{}", "There is no tool 'get weather!'. The tools are: book."),
        ("x" * 100, "{}", f"There is no tool '{'x' * 64}'. The tools are: book."),
        ("wetter_für", "{}", "There is no tool 'wetter_für'. The tools are: book."),
        ("book", '{"city": ', "Invalid JSON"),
        ("book", "[1, 2]", "not valid, so it was not run"),
        ("book", '"Paris"', "not valid, so it was not run"),
        ("book", "null", "not valid, so it was not run"),
        ("book", '{"town": "Paris"}', "- city: Field required"),
        ("book", '{"city": NaN}', "not valid, so it was not run"),
        ("book", "city=Paris", "not valid, so it was not run"),
    ],
)
async def test_odd_calls_do_not_poison_the_history(name: str, arguments: str, told: str, *, streamed: bool) -> None:
    for refusal in (refusal_of_openai, refusal_of_vllm):
        with serving(calls((name, arguments), ids=["c1"]), strictly(refusal, reply=text("done"))) as endpoint:
            result = await run(agent_at(endpoint), streamed=streamed)
        assert (result.output, ran) == ("done", [])
        answer = endpoint.requests[1]["messages"][-1]
        assert told in answer["content"]
        with serving(strictly(refusal, reply=text("done"))) as endpoint:
            await run(agent_at(endpoint), streamed=streamed, prompt=(*result.messages, UserMessage("And?")))


def response(
    reason: str | None, content: str | None = None, *arguments: str, refusal: str | None = None
) -> ChatResponse:
    made = tuple([ToolCall(f"c{at}", f"tool{at}", each) for at, each in enumerate(arguments)])
    return ChatResponse((Choice(AssistantMessage(content, made, refusal), reason),), Usage(1))


def test_how_a_reply_is_told(*, streamed: bool) -> None:
    del streamed
    assert cut_call(response("length", None, "{}", '{"a').message, "length") == "tool1"
    assert cut_call(response("length", None, "{}", "{}").message, "length") is None
    assert cut_call(response("tool_calls", None, "{}", '{"a').message, "tool_calls") is None
    assert is_cut_answer(response("length", "a").message, "length")
    assert not is_cut_answer(response("length", "a", "{").message, "length")
    assert not is_cut_answer(response("stop", "a").message, "stop")
    assert [is_empty(each.message) for each in (response(None), response(None, " \n"), response(None, "a"))] == [
        True,
        True,
        False,
    ]
    assert not is_empty(response(None, None, "{}").message)
    assert not is_empty(response(None, refusal="No.").message)
    for reason in ("stop", "length", None):
        check_ended(response(reason, "a"))
    with pytest.raises(IncompleteReply, match="failed within its answer \\('error'\\)") as caught:
        check_ended(response("error", "a", "{"))
    assert (caught.value.text, [call.name for call in caught.value.calls]) == ("a", ["tool0"])
    with pytest.raises(ContentFiltered) as filtered:
        check_ended(response("content_filter"))
    assert (filtered.value.text, filtered.value.calls) == ("", ())


def test_the_answer_of_a_state(*, streamed: bool) -> None:
    del streamed

    def step(content: str | None, violation: Violation | None = None) -> Step:
        note = (UserMessage("go on", note=True),)
        return Step(AssistantMessage(content), ToolChoice(), "auto", violation, note if violation else ())

    def state(*steps: Step) -> State:
        found = State.of((UserMessage("go"),))
        for each in steps:
            found = found.with_reply(each)
        return found

    cut = Violation("cut_answer", "its answer was cut")
    assert answer_of(State.of((UserMessage("go"), AssistantMessage("Hi")))) == "Hi"
    assert end_of(State.of((UserMessage("go"), AssistantMessage("Hi")))) == ("Hi", "answer")
    assert end_of(State.of((UserMessage("go"), AssistantMessage(" \n")))) == ("", "empty")
    assert end_of(State.of((UserMessage("go"), AssistantMessage(refusal="No.")))) == ("No.", "refusal")
    assert end_of(State.of((UserMessage("go"), AssistantMessage("Hi", refusal="No.")))) == ("Hi", "answer")
    assert end_of(state()) == ("", "empty")
    assert answer_of(state()) == ""
    assert answer_of(state(step("a", cut), step("b"))) == "ab"
    assert answer_of(state(step("a", cut), step(None, cut), step("c"))) == "ac"
    assert answer_of(state(step("a", cut), step("b"), step("c"))) == "c"
    assert answer_of(state(step("a", Violation("tool_choice", "it answered")), step("b"))) == "b"


@pytest.mark.parametrize(
    ("written", "name"),
    [("a", "a"), ("functions.a", "a"), ("B", "b"), ("a.c", "a.c"), ("tools:b", "b")],
)
def test_a_call_gets_the_name_of_the_tool_that_it_means(written: str, name: str, *, streamed: bool) -> None:
    del streamed
    message = AssistantMessage("so", (ToolCall("c0", "a", "{}"), ToolCall("c1", written, "{}", {"thought": 1})))
    repaired = with_tool_names(message, frozenset("ab"))
    assert repaired.tool_calls == (ToolCall("c0", "a", "{}"), ToolCall("c1", name, "{}", {"thought": 1}))
    assert repaired.content == "so"
    assert (repaired is message) == (written == "a")
