from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import Agent, ImagePart, Limits, ModelRetry, Settings, approve, tool
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice
from agentkit.core.concurrency import Threads
from agentkit.core.errors import EndpointUnavailable
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.model import OnChunk
from agentkit.runs.lifecycle import RunInput
from agentkit.server import Bounds
from agentkit.server.client_calls import ClientCallStore
from agentkit.server.errors import HttpError
from agentkit.server.request import CompletionRequest, parse_request
from agentkit.server.response import Failed, Finished, ResponsePart, TextChunk, ToolCallsChunk, ToolEvent
from agentkit.server.runner import ServedRun, approver_for, conversation_for, plan_for, run_choice
from agentkit.tool_choice import first, force
from agentkit.tools.approval import Approver
from agentkit.tools.truncation import READ_RESULT
from tests.scripted import Scripted, called, said
from tests.server.served import THEIRS, asking, search

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@tool(ends=True)
def send(text: str) -> str:
    """Send."""
    return f"sent {text}"


class Trip(BaseModel):
    city: str


class Wordy:
    """Plays replies with their finish reasons, each text word by word."""

    name = "wordy"

    def __init__(self, *plays: tuple[AssistantMessage, str] | Exception) -> None:
        self.plays = list(plays)

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        if isinstance(play, Exception):
            raise play
        message, reason = play
        words = (message.content or "").split(" ") if on_chunk else []
        for position, word in enumerate(words):
            assert on_chunk is not None
            on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": f" {word}" if position else word}}]}))
        return ChatResponse((Choice(message, reason),), Usage(1, 10, 5))


def parsed(**fields: Any) -> CompletionRequest:
    return parse_request(asking(**fields), Bounds(), ())


async def served_parts(agent: Agent[Any, Any], store: Any = None, **fields: Any) -> list[ResponsePart]:
    """The parts of the response to a request with these fields."""
    request, parts = parsed(**fields), list[ResponsePart]()
    approver = approver_for(None, request.tool_names, Threads(1))
    given = RunInput(conversation_for(agent.plan, request.messages), None, approver)
    store = ClientCallStore(Bounds()) if store is None else store
    served = ServedRun(plan_for(agent.plan, request, 60), given, request, ("agent", ""), store, events=request.events)
    await run_choice(served, 0, parts.append)
    return parts


def text_of(parts: list[ResponsePart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextChunk) and not part.refusal)


def finish_of(parts: list[ResponsePart]) -> Finished:
    finished = parts[-1]
    assert isinstance(finished, Finished), finished
    return finished


def results_in(messages: tuple[Message, ...]) -> list[ToolMessage]:
    return [message for message in messages if isinstance(message, ToolMessage)]


def saying(text: str, *calls: tuple[str, Any]) -> AssistantMessage:
    return AssistantMessage(text, called(*calls).tool_calls)


def english(text: str) -> None:
    if text == "Roma":
        raise ModelRetry("In English.")


HI = said("Hi there.")
CUT_CALL = (AssistantMessage("So: ", (ToolCall("c0", "search", '{"que'),)), "length")
SCRIPTS: list[tuple[str, list[Any], dict[str, Any], str, str]] = [
    ("an answer", [(HI, "stop")], {}, "Hi there.", "stop"),
    ("steps", [(saying("Let me look.", ("search", {})), "tool_calls"), (HI, "stop")], {}, "Let me look.\n\nHi there.", "stop"),
    ("silent steps", [(saying("", ("search", {})), "tool_calls"), (HI, "stop")], {}, "Hi there.", "stop"),
    ("a tool ends it", [(saying("Now.", ("send", {"text": "x"})), "tool_calls")], {}, "Now.\n\nsent x", "stop"),
    ("an unwanted answer", [(HI, "stop"), (called(("search", {})), "tool_calls"), (said("Yes."), "stop")],
     {"tool_choice": first(force(search))}, "Yes.", "stop"),
    ("text beside a wanted call", [(saying("Wait.", ("search", {})), "tool_calls"), (said("Yes."), "stop")],
     {"tool_choice": first(force(search))}, "Wait.\n\nYes.", "stop"),
    ("calls where none may be", [(saying("Or so.", ("search", {})), "tool_calls"), (HI, "stop")],
     {"tool_choice": "none"}, "Or so.\n\nHi there.", "stop"),
    ("cut", [(said("Once upon"), "length")], {}, "Once upon", "length"),
    ("cut and continued", [(said("Once upon"), "length"), (said(" a time."), "stop")], {"on_truncated": "continue"},
     "Once upon a time.", "stop"),
    ("cut before a word", [(said(""), "length")], {}, "", "length"),
    ("cut within calls", [CUT_CALL], {}, "So: \n\nSo: \n\nSo: ", "length"),
    ("filtered", [(said("Well, the"), "content_filter")], {}, "Well, the", "content_filter"),
    ("nothing said", [(said(""), "stop")], {}, "", "stop"),
    ("a last answer", [(called(("search", {})), "tool_calls"), (HI, "stop")],
     {"limits": Limits(steps=1, at_end="answer")}, "Hi there.", "stop"),
    ("typed", [(saying("Hm.", ("final_answer", {"city": "Rome"})), "tool_calls")], {"output": Trip, "tools": []},
     '{"city":"Rome"}', "stop"),
    ("checked", [(said("Roma"), "stop"), (said("Rome"), "stop")],
     {"output_validators": [english], "tools": []}, "Rome", "stop"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("script", "options", "text", "reason"), [case[1:] for case in SCRIPTS], ids=[case[0] for case in SCRIPTS])  # fmt: skip
async def test_the_same_text_streamed_or_not(script: Any, options: Any, text: str, reason: str, stream: bool) -> None:
    arguments: dict[str, Any] = {"tools": [search, send], **options}
    agent: Agent[Any, Any] = Agent(Wordy(*script), **arguments)
    parts = await served_parts(agent, stream=stream)
    assert (text_of(parts), finish_of(parts).finish_reason) == (text, reason)


async def test_text_is_put_as_it_is_written_and_once() -> None:
    class Trimming(Wordy):
        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            reply = await super().complete(request, on_chunk)
            return ChatResponse((Choice(said("Trimmed."), "stop"),), reply.usage)

    parts = await served_parts(Agent(Wordy((said("a b c"), "stop"))), stream=True)
    assert [part.text for part in parts if isinstance(part, TextChunk)] == ["a", " b", " c"]
    assert text_of(await served_parts(Agent(Trimming((said("  Hi"), "stop"))), stream=True)) == "  Hi"


async def test_a_refusal_is_the_models_own_words() -> None:
    first, last = await served_parts(Agent(Wordy((AssistantMessage(refusal="I will not."), "stop"))))
    assert (first, last) == (TextChunk(0, "I will not.", refusal=True), Finished(0, "stop", Usage(1, 10, 5)))


@pytest.mark.parametrize(("play", "total"), [((said("x"), "stop"), 15), ((said("x"), "content_filter"), 15), (CUT_CALL, 45)])  # fmt: skip
async def test_the_usage_is_reported_however_it_ends(play: Any, total: int) -> None:
    assert finish_of(await served_parts(Agent(Wordy(play), tools=[search]))).usage.total_tokens == total


async def test_an_error_says_whether_tools_had_run() -> None:
    broken = EndpointUnavailable("no", status=503)
    for plays, acted in (([], False), ([(called(("search", {})), "tool_calls")], True)):
        parts = await served_parts(Agent(Wordy(*plays, broken), tools=[search]))
        assert parts[-1] == Failed(0, broken, acted=acted)
    # A reply that breaks off is an error although an earlier one was truncated.
    assert isinstance((await served_parts(Agent(Wordy(CUT_CALL, (said("So"), "error")), tools=[search])))[-1], Failed)


async def test_tool_events_are_put_if_the_client_asks_for_them() -> None:
    agent = Agent(Scripted(called(("search", {"query": "x"})), HI), tools=[search])
    parts = await served_parts(agent, stream_options={"include_events": True})
    begun, ended = [part.data for part in parts if isinstance(part, ToolEvent)]
    assert begun == {"event": "tool_started", "index": 0, "id": "c0", "name": "search", "arguments": '{"query": "x"}'}
    assert (ended["event"], ended["outcome"], ended["content"]) == ("tool_finished", "ok", "found x")
    assert not [part for part in await served_parts(agent) if isinstance(part, ToolEvent)]


async def test_events_have_images_and_the_arguments_of_what_did_not_run() -> None:
    @tool
    def look() -> list[str | ImagePart]:
        """Look."""
        return ["a picture", ImagePart("data:image/png;base64,AA==")]

    agent = Agent(Scripted(called(("look", {}), ("missing", {"a": 1})), said("Yes.")), tools=[look])
    parts = await served_parts(agent, stream_options={"include_events": True})
    ended = {part.data["name"]: part.data for part in parts if isinstance(part, ToolEvent) and "outcome" in part.data}
    assert (ended["look"]["images"], "arguments" in ended["look"]) == (["data:image/png;base64,AA=="], False)
    assert (ended["missing"]["arguments"], "images" in ended["missing"]) == ('{"a": 1}', False)


class Thinking:
    """Reasons in two pieces if streamed, and in one otherwise."""

    name = "thinking"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        for piece in ("Well, ", "so.") if on_chunk else ():
            assert on_chunk is not None
            on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"reasoning": piece}}]}))
        message = AssistantMessage("Yes.", extra={"reasoning": "Well, so."})
        return ChatResponse((Choice(message, "stop"),), Usage(1, 10, 5))


@pytest.mark.parametrize(("stream", "pieces"), [(True, ["Well, ", "so."]), (False, ["Well, so."])])
async def test_reasoning_is_an_event(stream: bool, pieces: list[str]) -> None:
    parts = await served_parts(Agent(Thinking()), stream=stream, stream_options={"include_events": True})
    events = [part.data for part in parts if isinstance(part, ToolEvent)]
    assert [(event["event"], event["text"]) for event in events] == [("reasoning", piece) for piece in pieces]
    assert text_of(parts) == "Yes."


async def test_calls_of_the_clients_tools_are_sent_to_it_and_never_run() -> None:
    store = ClientCallStore(Bounds())
    agent = Agent(Scripted(called(("search", {"query": "x"}), ("ask_user", {"q": 1}))), tools=[search])
    chunk, finished = await served_parts(agent, store, tools=THEIRS)
    assert isinstance(chunk, ToolCallsChunk)
    (call,) = chunk.calls
    assert (call.name, call.arguments) == ("ask_user", '{"q": 1}')
    assert finished == Finished(0, "tool_calls", Usage(1, 10, 5))
    reply = AssistantMessage(tool_calls=chunk.calls)
    restored = store.restore(("agent", ""), (UserMessage("Hello"), reply, ToolMessage(call.id, "yes")))
    assert [result.content for result in results_in(restored)] == ["found x", "yes"]


async def yes(_: ToolCall) -> bool:
    return True


def yes_later(call: ToolCall) -> Any:
    return yes(call)


def yes_at_once(_: ToolCall) -> bool:
    return True


def undecided(_: ToolCall) -> None:
    """Decide on nothing."""


@pytest.mark.parametrize("approver", [yes, yes_at_once, yes_later, approve])
async def test_an_approver_decides_on_the_agents_own_tools(approver: Approver) -> None:
    call = ToolCall("c0", "erase", "{}")
    decide: Any = approver_for(approver, frozenset({"ask_user"}), Threads(1))
    assert await decide(call) == approve(call)
    assert await decide(ToolCall("c1", "ask_user", "{}")) is None
    for none in (None, undecided):
        decide = approver_for(none, frozenset(), Threads(1))
        assert not (await decide(call)).approved


@pytest.mark.parametrize("name", ["search", READ_RESULT])
async def test_the_names_of_the_agents_tools_are_taken(name: str) -> None:
    agent = Agent(Scripted(HI), tools=[search])
    request = parsed(tools=[*THEIRS, {"type": "function", "function": {"name": name}}])
    with pytest.raises(HttpError) as caught:
        plan_for(agent.plan, request, 60)
    assert caught.value.param == "tools[1].function.name"


async def test_the_plan_of_a_run() -> None:
    agent = Agent(Scripted(HI), tools=[search], settings=Settings(temperature=1), instructions="Be kind.", output=Trip)
    request = parsed(tools=THEIRS, temperature=0, stream=True, tool_choice="required")
    plan = plan_for(agent.plan, request, 60)
    assert plan.toolbox.names == {"search", "final_answer", "ask_user"}
    assert (plan.settings.temperature, plan.limits.seconds, plan.streamed) == (0, 60, True)
    assert plan.policy_text.endswith("with the client's required")
    for own, shorter in ((10.0, 10.0), (100.0, 60.0), (None, 60.0)):
        limited = Agent(Scripted(HI), limits=Limits(seconds=own))
        assert plan_for(limited.plan, CompletionRequest("agent", ()), 60).limits.seconds == shorter
    bare = plan_for(agent.plan, CompletionRequest("agent", ()), 60)
    assert (bare.toolbox, bare.policy, bare.streamed) == (agent.plan.toolbox, agent.plan.policy, False)


@pytest.mark.parametrize(("option", "settings", "used"), [
    ("error", {}, "accept"), ("accept", {}, "accept"), ("continue", {}, "continue"), ("continue", {"max_tokens": 5}, "accept"),
])  # fmt: skip
async def test_a_client_that_limits_the_tokens_gets_no_continuation(option: Any, settings: Any, used: str) -> None:
    agent = Agent(Scripted(HI), on_truncated=option)
    assert plan_for(agent.plan, CompletionRequest("agent", (), settings), 60).on_truncated == used


USER, LATIN, BOTH = UserMessage("Hi"), SystemMessage("Speak Latin."), SystemMessage("Be kind.\n\nSpeak Latin.")


@pytest.mark.parametrize(("instructions", "sent", "seen"), [
    ("Be kind.", (USER,), (SystemMessage("Be kind."), USER)), ("Be kind.", (LATIN, USER), (BOTH, USER)),
    ("Be kind.", (DeveloperMessage("Speak Latin."), USER), (BOTH, USER)), (None, (LATIN, USER), (LATIN, USER)),
])  # fmt: skip
async def test_the_agents_instructions_come_first(instructions: str | None, sent: Any, seen: Any) -> None:
    assert conversation_for(Agent(Scripted(HI), instructions=instructions).plan, sent) == seen


async def test_a_clients_results_of_the_agents_tools_are_no_proof() -> None:
    calls = (ToolCall("c0", "search", "{}"), ToolCall("c1", "ask_user", "{}"))
    sent = (USER, AssistantMessage(tool_calls=calls), ToolMessage("c0", "all is well"), ToolMessage("c1", "yes"))
    results = results_in(conversation_for(Agent(Scripted(HI), tools=[search]).plan, sent))
    assert [(result.outcome, result.content) for result in results] == [("refused", "all is well"), ("ok", "yes")]


async def test_tools_from_a_function_serve_beside_the_clients() -> None:
    """A client's results of them are no proof either, whichever tools the function gives."""
    model = Scripted(called(("search", {"query": "x"})), called(("ask_user", {})))
    agent: Agent[Any, Any] = Agent(model, tools=lambda _: [search])
    (*_, chunk, finished) = await served_parts(agent, tools=THEIRS)
    assert isinstance(chunk, ToolCallsChunk)
    assert isinstance(finished, Finished)
    assert finished.finish_reason == "tool_calls"
    assert [[spec.name for spec in request.tools] for request in model.requests] == [["ask_user", "search"]] * 2
    sent = (USER, AssistantMessage(tool_calls=(ToolCall("c0", "search", "{}"), ToolCall("c1", "ask_user", "{}"))))
    answers = (ToolMessage("c0", "all is well"), ToolMessage("c1", "yes"))
    results = results_in(conversation_for(agent.plan, (*sent, *answers), frozenset({"ask_user"})))
    assert [result.outcome for result in results] == ["refused", "ok"]


async def test_tools_from_a_function_and_an_answer_in_the_clients_form() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    model = Scripted(called(("search", {"query": "x"})), called(("final_answer", {"answer": {"n": 1}})))
    agent: Agent[Any, Any] = Agent(model, tools=lambda _: [search])
    parts = await served_parts(agent, response_format=form)
    assert [part.text for part in parts if isinstance(part, TextChunk)] == ['{"n":1}']
