from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    AssistantMessage,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    DeveloperMessage,
    EndpointUnavailable,
    Limits,
    Settings,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    approve,
    tool,
)
from agentkit.core.chat import Choice
from agentkit.core.concurrency import Threads
from agentkit.core.messages import Message
from agentkit.core.model import OnChunk
from agentkit.runs.lifecycle import RunInput
from agentkit.runs.plan import Plan
from agentkit.server import Bounds
from agentkit.server.client_calls import ClientCallStore
from agentkit.server.errors import HttpError
from agentkit.server.request import CompletionRequest, parse_request
from agentkit.server.response import ToolCallsChunk, Finished, Failed, ResponsePart, TextChunk, ToolEvent
from agentkit.server.runner import ServedRun, approver_for, conversation_for, plan_for, run_choice
from agentkit.tool_choice import first, force
from agentkit.tools.approval import Approver, Decision
from agentkit.tools.truncation import READ_RESULT
from tests.scripted import Scripted, called, said
from tests.server.served import asking

pytestmark = pytest.mark.anyio

THEIRS = [{"type": "function", "function": {"name": "ask_user"}}]


@tool
def search(query: str = "") -> str:
    """Search."""
    return f"found {query}"


@tool(ends=True)
def send(text: str) -> str:
    """Send."""
    return f"sent {text}"


@tool(approval=True)
def erase() -> str:
    """Erase."""
    return "erased"


class Trip(BaseModel):
    city: str


class Wordy:
    """Plays replies with the reason of their end, each text word by word."""

    name = "wordy"

    def __init__(self, *plays: tuple[AssistantMessage, str] | Exception) -> None:
        self.plays = list(plays)

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        if isinstance(play, Exception):
            raise play
        message, reason = play
        words = (message.content or "").split(" ") if on_chunk else []
        for at, word in enumerate(words):
            assert on_chunk is not None
            on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": f" {word}" if at else word}}]}))
        return ChatResponse((Choice(message, reason),), Usage(1, 10, 5))


def plan_of(agent: Agent[Any, Any]) -> Plan:
    return agent._plan


def turn_of(agent: Agent[Any, Any], handovers: ClientCallStore | None = None, **more: Any) -> ServedRun:
    asked = parse_request(asking(**more), Bounds(), ())
    given = RunInput(conversation_for(plan_of(agent), asked.messages), None, approver_for(None, asked.tool_names, Threads(1)))
    kept = ClientCallStore(Bounds()) if handovers is None else handovers
    return ServedRun(plan_for(plan_of(agent), asked, 60), given, asked, ("agent", ""), kept, events=asked.events)


async def taken(agent: Agent[Any, Any], **more: Any) -> list[ResponsePart]:
    pieces: list[ResponsePart] = []
    await run_choice(turn_of(agent, **more), 0, pieces.append)
    return pieces


def text_of(pieces: list[ResponsePart]) -> str:
    return "".join(each.text for each in pieces if isinstance(each, TextChunk) and not each.refusal)


def end_of(pieces: list[ResponsePart]) -> str:
    ended = pieces[-1]
    assert isinstance(ended, Finished), ended
    return ended.finish_reason


def saying(text: str, *calls: tuple[str, Any]) -> AssistantMessage:
    return AssistantMessage(text, called(*calls).tool_calls)


HI = said("Hi there.")


def nothing_amiss(_: object) -> None:
    """Look at an answer."""


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
    ("checked", [(saying("Hm.", ("final_answer", {"answer": "Rome"})), "tool_calls")],
     {"output_validators": [nothing_amiss], "tools": []}, "Rome", "stop"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("script", "options", "text", "reason"), [each[1:] for each in SCRIPTS], ids=[each[0] for each in SCRIPTS]
)
async def test_the_same_words_streamed_or_not(
    script: list[Any], options: dict[str, Any], text: str, reason: str, stream: bool
) -> None:
    given: dict[str, Any] = {"tools": [search, send], **options}
    agent: Agent[Any, Any] = Agent(Wordy(*script), **given)
    pieces = await taken(agent, stream=stream)
    assert (text_of(pieces), end_of(pieces)) == (text, reason)


async def test_a_text_is_told_as_it_is_written_where_the_model_may_answer() -> None:
    pieces = await taken(Agent(Wordy((said("a b c"), "stop"))), stream=True)
    assert [each.text for each in pieces if isinstance(each, TextChunk)] == ["a", " b", " c"]


async def test_a_text_that_was_streamed_in_other_words_is_not_told_twice() -> None:
    class Other(Wordy):
        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            reply = await super().complete(request, on_chunk)
            return ChatResponse((Choice(said("Trimmed."), "stop"),), reply.usage)

    assert text_of(await taken(Agent(Other((said("  Hi"), "stop"))), stream=True)) == "  Hi"


async def test_a_refusal_is_the_models_own_words() -> None:
    pieces = await taken(Agent(Wordy((AssistantMessage(refusal="I will not."), "stop"))))
    assert pieces[0] == TextChunk(0, "I will not.", refusal=True)
    assert end_of(pieces) == "stop"


async def test_what_it_cost_is_told_however_it_ends() -> None:
    for reason in ("stop", "content_filter"):
        ended = (await taken(Agent(Wordy((said("x"), reason)))))[-1]
        assert isinstance(ended, Finished)
        assert ended.usage.total_tokens == 15
    ended = (await taken(Agent(Wordy(CUT_CALL), tools=[search])))[-1]
    assert isinstance(ended, Finished)
    assert ended.usage.total_tokens == 45


async def test_an_error_says_whether_tools_had_run() -> None:
    broken = EndpointUnavailable("no", status=503)
    first_ = (await taken(Agent(Wordy(broken), tools=[search])))[-1]
    assert first_ == Failed(0, broken, acted=False)
    later = (await taken(Agent(Wordy((called(("search", {})), "tool_calls"), broken), tools=[search])))[-1]
    assert later == Failed(0, broken, acted=True)


async def test_a_reply_that_broke_is_an_error_although_an_earlier_one_was_cut() -> None:
    model = Wordy(CUT_CALL, (said("So"), "error"))
    ended = (await taken(Agent(model, tools=[search])))[-1]
    assert isinstance(ended, Failed)


async def test_tools_are_told_of_where_that_is_asked_for() -> None:
    agent = Agent(Scripted(called(("search", {"query": "x"})), HI), tools=[search])
    told = [each.data for each in await taken(agent, stream_options={"include_events": True}) if isinstance(each, ToolEvent)]
    assert [each["event"] for each in told] == ["tool_started", "tool_finished"]
    assert told[0] == {"event": "tool_started", "index": 0, "id": "c0", "name": "search", "arguments": '{"query": "x"}'}
    assert (told[1]["outcome"], told[1]["content"]) == ("ok", "found x")
    assert not [each for each in await taken(agent) if isinstance(each, ToolEvent)]


async def test_calls_of_the_clients_tools_are_handed_over_and_never_run() -> None:
    kept = ClientCallStore(Bounds())
    agent = Agent(Scripted(called(("search", {"query": "x"}), ("ask_user", {"q": 1}))), tools=[search])
    pieces: list[ResponsePart] = []
    await run_choice(turn_of(agent, kept, tools=THEIRS), 0, pieces.append)
    handed, ended = pieces
    assert isinstance(handed, ToolCallsChunk)
    (call,) = handed.calls
    assert (call.name, call.arguments) == ("ask_user", '{"q": 1}')
    assert ended == Finished(0, "tool_calls", Usage(1, 10, 5))
    reply = AssistantMessage(tool_calls=handed.calls)
    restored = kept.restore(("agent", ""), (UserMessage("Hello"), reply, ToolMessage(call.id, "yes")))
    assert [each.content for each in restored if isinstance(each, ToolMessage)] == ["found x", "yes"]


async def test_own_tools_that_need_approval_are_not_run_where_nobody_is_there() -> None:
    model = Scripted(called(("erase", {})), HI)
    assert text_of(await taken(Agent(model, tools=[erase]))) == "Hi there."
    (answer,) = [each for each in model.requests[1].messages if isinstance(each, ToolMessage)]
    assert "nobody is there to allow it" in answer.content


async def yes_async(call: ToolCall) -> bool:
    return True


def yes(call: ToolCall) -> bool:
    return True


def later(call: ToolCall) -> Any:
    return yes_async(call)


def decision(call: ToolCall) -> Decision:
    return approve(call)


def nobody(call: ToolCall) -> None:
    """Nobody."""


@pytest.mark.parametrize("approver", [yes_async, yes, later, decision])
async def test_someone_may_be_there_after_all(approver: Approver) -> None:
    call = ToolCall("c0", "erase", "{}")
    asked: Any = approver_for(approver, frozenset({"ask_user"}), Threads(1))
    assert await asked(call) == approve(call)
    assert await asked(ToolCall("c1", "ask_user", "{}")) is None


async def test_who_does_not_decide_does_not_allow() -> None:
    asked: Any = approver_for(nobody, frozenset(), Threads(1))
    assert not (await asked(ToolCall("c0", "erase", "{}"))).approved


async def test_the_names_of_the_agents_tools_are_taken() -> None:
    agent = Agent(Scripted(HI), tools=[search])
    for name in ("search", READ_RESULT):
        asked = parse_request(asking(tools=[*THEIRS, {"type": "function", "function": {"name": name}}]), Bounds(), ())
        with pytest.raises(HttpError) as caught:
            plan_for(plan_of(agent), asked, 60)
        assert caught.value.param == "tools[1].function.name"


async def test_what_a_run_goes_by() -> None:
    agent = Agent(Scripted(HI), tools=[search], settings=Settings(temperature=1), instructions="Be kind.", output=Trip)
    asked = parse_request(asking(tools=THEIRS, temperature=0, stream=True, tool_choice="required"), Bounds(), ())
    plan = plan_for(plan_of(agent), asked, 60)
    assert plan.toolbox.names == {"search", "final_answer", "ask_user"}
    assert plan.settings.temperature == 0
    assert plan.limits.seconds == 60
    assert plan.streamed
    assert plan.policy_text.endswith("with the client's required")
    bare = plan_for(plan_of(agent), CompletionRequest("agent", ()), 60)
    assert (bare.toolbox, bare.policy, bare.streamed) == (plan_of(agent).toolbox, plan_of(agent).policy, False)


@pytest.mark.parametrize(("seconds", "holds"), [(10.0, 10.0), (100.0, 60.0), (None, 60.0)])
async def test_the_shorter_time_holds(seconds: float | None, holds: float) -> None:
    agent = Agent(Scripted(HI), limits=Limits(seconds=seconds))
    assert plan_for(plan_of(agent), CompletionRequest("agent", ()), 60).limits.seconds == holds


@pytest.mark.parametrize(
    ("cut", "settings", "holds"),
    [
        ("error", {}, "accept"),
        ("accept", {}, "accept"),
        ("continue", {}, "continue"),
        ("continue", {"max_tokens": 5}, "accept"),
    ],
)
async def test_who_asks_for_no_more_is_told_that_there_is_more(cut: Any, settings: dict[str, Any], holds: str) -> None:
    agent = Agent(Scripted(HI), on_truncated=cut)
    assert plan_for(plan_of(agent), CompletionRequest("agent", (), settings), 60).on_truncated == holds


SYSTEM = SystemMessage("Be kind.\n\nSpeak Latin.")


@pytest.mark.parametrize(
    ("instructions", "sent", "seen"),
    [
        ("Be kind.", (UserMessage("Hi"),), (SystemMessage("Be kind."), UserMessage("Hi"))),
        ("Be kind.", (SystemMessage("Speak Latin."), UserMessage("Hi")), (SYSTEM, UserMessage("Hi"))),
        ("Be kind.", (DeveloperMessage("Speak Latin."), UserMessage("Hi")), (SYSTEM, UserMessage("Hi"))),
        (None, (SystemMessage("Speak Latin."), UserMessage("Hi")), (SystemMessage("Speak Latin."), UserMessage("Hi"))),
    ],
)
async def test_the_agents_instructions_stand_first(
    instructions: str | None, sent: tuple[Message, ...], seen: tuple[Message, ...]
) -> None:
    assert conversation_for(plan_of(Agent(Scripted(HI), instructions=instructions)), sent) == seen


async def test_what_a_client_says_of_the_agents_tools_is_no_proof() -> None:
    calls = (ToolCall("c0", "search", "{}"), ToolCall("c1", "ask_user", "{}"))
    sent = (
        UserMessage("Hi"),
        AssistantMessage(tool_calls=calls),
        ToolMessage("c0", "all is well"),
        ToolMessage("c1", "yes"),
    )
    seen = conversation_for(plan_of(Agent(Scripted(HI), tools=[search])), sent)
    assert [each.outcome for each in seen if isinstance(each, ToolMessage)] == ["refused", "ok"]
    assert [each.content for each in seen if isinstance(each, ToolMessage)] == ["all is well", "yes"]
