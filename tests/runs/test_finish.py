import json
from typing import Any

import pytest

from agentkit import Agent, ChatClient, ContentFiltered, IncompleteReply, ModelError, Result, State, Step, ToolChoice
from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.messages import AssistantMessage, Message, ToolCall, UserMessage
from agentkit.core.state import Violation
from agentkit.runs.finish import answer_of, check_ended, end_of, with_tool_names
from agentkit.testing import Raw
from tests.endpoint import Endpoint, Json, body_of, calls, fault_in, serving, text
from tests.strict_endpoints import refusal_of_openai, refusal_of_vllm, strictly

pytestmark = pytest.mark.anyio
both_ways = pytest.mark.parametrize("streamed", [False, True])

ran: list[str] = []
REFUSALS = (refusal_of_openai, refusal_of_vllm)
GO_ON = "Your answer was cut. Go on exactly where it ends, and repeat nothing."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def book(city: str) -> str:
    ran.append(city)
    return f"booked {city}"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def cut(content: str | None = None, *made: tuple[str, str], reason: str = "length") -> Json:
    """A reply that was truncated, perhaps in a call."""
    reply = calls(*made, content=content) if made else text(content or "")
    return {**reply, "finish_reason": reason}


def agent_at(endpoint: Endpoint, **options: Any) -> Agent:
    return Agent(ChatClient("m", base_url=endpoint.url, retries=0), tools=[book], **options)


async def run(agent: Agent, *, streamed: bool = False, prompt: str | tuple[Message, ...] = "go") -> Result[str]:
    if not streamed:
        return await agent.run(prompt)
    async with agent.stream(prompt) as running:
        async for _ in running:
            pass
    return running.result


async def check_resumable(error: ModelError) -> list[Json]:
    """Send the partial history to endpoints that refuse what is not right; return the last one's requests."""
    assert error.partial is not None
    messages = error.partial.messages
    assert fault_in([message.to_dict() for message in messages]) is None
    requests: list[Json] = []
    for refusal in REFUSALS:
        with serving(strictly(refusal, reply=text("at last"))) as endpoint:
            assert (await run(agent_at(endpoint), prompt=messages)).output == "at last"
            requests = endpoint.requests
    return requests


# The replies and options; how many requests then, the text, the calls, what was booked.
NOT_WHOLE: list[tuple[list[Json], dict[str, Any], tuple[int, str, list[str], list[str]]]] = [
    ([calls(("book", {"city": "Rome"})), cut("The hotel is ")], {}, (2, "The hotel is ", [], ["Rome"])),
    ([cut("a"), cut("b"), cut("c"), cut("d")], {"on_truncated": "continue"}, (3, "abc", [], [])),
    ([cut("a")], {"on_truncated": "continue", "max_corrections": 0}, (1, "a", [], [])),
    ([cut("I book", ("book", '{"city": "P'))], {}, (3, "I book", ["book"], [])),
    ([cut(None, ("book", '{"city": "P'))], {"max_corrections": 0}, (1, "", ["book"], [])),
    ([cut("")], {}, (1, "", [], [])),  # as from a model that thinks, and has too few tokens
    ([cut("It is", reason="network_error")], {}, (1, "It is", [], [])),
]


@both_ways
@pytest.mark.parametrize(("replies", "options", "end"), NOT_WHOLE)
async def test_a_reply_that_is_not_whole_ends_the_run(
    replies: list[Json], options: Any, end: tuple[int, str, list[str], list[str]], *, streamed: bool
) -> None:
    with serving(*replies) as endpoint, pytest.raises(IncompleteReply) as caught:
        await run(agent_at(endpoint, **options), streamed=streamed)
    error = caught.value
    assert (len(endpoint.requests), error.text, [call.name for call in error.calls], ran) == end
    sent = (await check_resumable(error))[0]["messages"]
    if ran:
        assert [message["content"] for message in sent[-2:]] == ["The hotel is ", GO_ON]


@both_ways
@pytest.mark.parametrize("pieces", [["It is", " 18 degrees."], ["It", " is", " 18 degrees."]])
async def test_a_truncated_answer_is_continued(pieces: list[str], *, streamed: bool) -> None:
    with serving(*map(cut, pieces[:-1]), text(pieces[-1])) as endpoint:
        result = await run(agent_at(endpoint, on_truncated="continue"), streamed=streamed)
    assert (result.output, result.stop, result.violations) == ("It is 18 degrees.", "answer", len(pieces) - 1)
    assert [message["content"] for message in endpoint.requests[-1]["messages"]][1:] == [
        content for piece in pieces[:-1] for content in (piece, GO_ON)
    ]


@both_ways
@pytest.mark.parametrize(
    ("reply", "output", "stop", "booked"),
    [
        (cut("It is"), "It is", "cut", []),
        (cut(""), "done", "answer", []),
        (cut(None, ("book", '{"city": "Paris"}')), "done", "answer", ["Paris"]),  # its call is whole
    ],
)
async def test_a_truncated_reply_can_be_accepted(
    reply: Json, output: str, stop: str, booked: list[str], *, streamed: bool
) -> None:
    with serving(reply, text("done")) as endpoint:
        result = await run(agent_at(endpoint, on_truncated="accept"), streamed=streamed)
    assert (result.output, result.stop, ran) == (output, stop, booked)
    assert result.steps[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("replies", "corrections", "requests", "violations", "stop"),
    [(["", "done"], 2, 2, 1, "answer"), ([" \n"], 2, 3, 2, "empty"), ([""], 0, 1, 0, "empty")],
)
async def test_an_empty_reply_is_asked_for_again(
    replies: list[str], corrections: int, requests: int, violations: int, stop: str
) -> None:
    with serving(*map(text, replies)) as endpoint:
        result = await run(agent_at(endpoint, max_corrections=corrections))
    assert (len(endpoint.requests), result.violations, result.stop) == (requests, violations, stop)
    assert result.output.strip() == ("done" if stop == "answer" else "")


@both_ways
@pytest.mark.parametrize("reason", ["content_filter", "SAFETY"])
async def test_a_filtered_answer_ends_the_run(reason: str, *, streamed: bool) -> None:
    filtered = cut("How to ", ("book", '{"city": "Paris"}'), reason=reason)
    replies = (calls(("book", {"city": "Rome"})), filtered)
    with serving(*replies) as endpoint, pytest.raises(ContentFiltered, match=reason) as caught:
        await run(agent_at(endpoint), streamed=streamed)
    assert (caught.value.text, [call.name for call in caught.value.calls]) == ("How to ", ["book"])
    assert ran == ["Rome"]
    await check_resumable(caught.value)


async def test_a_refusal_is_the_output() -> None:
    refusal: Json = {"message": {"role": "assistant", "content": None, "refusal": "I cannot."}, "finish_reason": "stop"}
    plain = Raw([json.dumps(body_of(refusal)).encode()], headers={"content-type": "application/json"})
    with serving(plain) as endpoint:
        result = await run(agent_at(endpoint))
    assert (result.output, result.stop, result.violations) == ("I cannot.", "refusal", 0)
    assert isinstance(result.messages[-1], AssistantMessage)
    assert result.messages[-1].refusal == "I cannot."


# ---------------------------------------------------------------------------------------------------------- one reply


def message(content: str | None = None, *arguments: str, refusal: str | None = None) -> AssistantMessage:
    made = tuple([ToolCall(f"c{at}", f"tool{at}", written) for at, written in enumerate(arguments)])
    return AssistantMessage(content, made, refusal)


@pytest.mark.parametrize(("reason", "error"), [("error", IncompleteReply), ("content_filter", ContentFiltered)])
def test_from_which_replies_no_run_can_go_on(reason: str, error: type[IncompleteReply | ContentFiltered]) -> None:
    with pytest.raises(error, match=reason) as caught:
        check_ended(ChatResponse((Choice(message("a", "{"), reason),)))
    assert (caught.value.text, [call.name for call in caught.value.calls]) == ("a", ["tool0"])
    check_ended(ChatResponse((Choice(message("a"), "length"),)))


def test_the_answer_of_a_state() -> None:
    def state(*replies: tuple[AssistantMessage, Violation | None]) -> State:
        now = State.of((UserMessage("go"),))
        for reply, violation in replies:
            note = (UserMessage("go on", note=True),)
            now = now.with_reply(Step(reply, ToolChoice(), "auto", violation, note if violation else ()))
        return now

    truncated, broken = Violation("cut_answer", "its answer was cut"), Violation("tool_choice", "it answered")
    a, b, c = ((message(letter), None) for letter in "abc")
    half = (message("a"), truncated)
    assert [answer_of(state(*steps)) for steps in [(), (half, b), (half, (message(), truncated), c), (half, b, c)]] == [
        *("", "ab", "ac", "c"),
    ]
    assert answer_of(state((message("a"), broken), b)) == "b"
    for reply, end in [
        (message("Hi"), ("Hi", "answer")),
        (message(" \n"), ("", "empty")),
        (message(refusal="No."), ("No.", "refusal")),
        (message("Hi", refusal="No."), ("Hi", "answer")),
    ]:
        assert end_of(State.of((UserMessage("go"), reply))) == end
    assert end_of(state(a)) == ("a", "answer")


@pytest.mark.parametrize(
    ("written", "name"), [("a", "a"), ("functions.a", "a"), ("B", "b"), ("a.c", "a.c"), ("tools:b", "b")]
)
def test_a_call_gets_the_name_of_the_tool_that_it_means(written: str, name: str) -> None:
    reply = AssistantMessage("so", (ToolCall("c0", "a", "{}"), ToolCall("c1", written, "{}", {"thought": 1})))
    repaired = with_tool_names(reply, frozenset("ab"))
    assert repaired.tool_calls == (ToolCall("c0", "a", "{}"), ToolCall("c1", name, "{}", {"thought": 1}))
    assert repaired.content == "so"
    assert (repaired is reply) == (written == "a")
