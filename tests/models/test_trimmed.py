import json
from collections.abc import Sequence
from time import process_time
from typing import Any, TypeAlias

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import Agent, ToolCall, ToolMessage, UserMessage
from agentkit.core.chat import ChatRequest
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.growing import GrowingTuple
from agentkit.core.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage
from agentkit.core.parts import ImagePart, TextPart
from agentkit.models import trimmed
from agentkit.models.trimmed import Trimmed, estimated
from agentkit.tools.toolbox import Toolbox
from tests.endpoint import fault_in
from tests.scripted import Scripted, called, said

SYSTEM = SystemMessage("Be kind.")
user = UserMessage


def step(number: int | str, text: str = "x") -> tuple[Message, Message]:
    return AssistantMessage(tool_calls=(ToolCall(f"c{number}", "f", "{}"),)), ToolMessage(f"c{number}", text)


def talk(number: int, text: str = "x") -> tuple[Message, ...]:
    """An exchange of four messages."""
    return user(f"q{number} {text}"), *step(number, text), AssistantMessage(f"a{number} {text}")


def talks(many: int, text: str = "x") -> tuple[Message, ...]:
    return tuple([message for number in range(many) for message in talk(number, text)])


def each_is_ten(message: Message) -> int:
    return 10


def sent_with(messages: Sequence[Message], *, tools: Sequence[Any] = (), **options: Any) -> tuple[Message, ...]:
    """What is sent of a history."""
    model = Scripted(said("done"))
    request = ChatRequest(tuple(messages), Toolbox(tools).specs)
    anyio.run(Trimmed(model, **options).complete, request)
    return tuple(model.requests[0].messages)


def left_out(number: int) -> UserMessage:
    return UserMessage(f"[{number} earlier messages of this conversation left out here]", note=True)


def test_what_fits_is_sent_as_it_is() -> None:
    model = Scripted(said("done"))
    request = ChatRequest((SYSTEM, *talks(3), user("now")))
    for tokens, exchanges in ((1000, None), (None, 4), (1000, 4)):
        anyio.run(Trimmed(model, tokens=tokens, exchanges=exchanges).complete, request)
        assert model.requests[-1] is request


def test_the_oldest_exchanges_go_first() -> None:
    """14 messages and a note of 10 tokens each: a cut leaves 60 % of what the system message and the note leave."""
    history = (SYSTEM, *talks(3), user("now"))
    assert sent_with(history, tokens=140, count=each_is_ten) == history
    assert sent_with(history, tokens=130, count=each_is_ten) == (SYSTEM, left_out(8), *talk(2), user("now"))
    assert sent_with(history, tokens=70, count=each_is_ten) == (SYSTEM, left_out(8), *talk(2), user("now"))
    assert sent_with(history, tokens=60, count=each_is_ten, keep=1) == (SYSTEM, left_out(12), user("now"))
    assert sent_with(history, tokens=30, count=each_is_ten) == (SYSTEM, left_out(12), user("now"))
    assert sent_with(history, tokens=20, count=each_is_ten) == (SYSTEM, user("now"))


def test_exchanges_may_be_counted() -> None:
    history = (SYSTEM, DeveloperMessage("Be brief."), *talks(5), user("now"))
    assert sent_with(history, exchanges=6) == history
    assert sent_with(history, exchanges=5) == (*history[:2], left_out(12), *talk(3), *talk(4), user("now"))
    assert sent_with(history, exchanges=5, keep=0.8) == (*history[:2], left_out(8), *history[10:])
    assert sent_with(history, exchanges=1) == (*history[:2], left_out(20), user("now"))
    both = sent_with(history, exchanges=5, tokens=60, count=each_is_ten)
    assert both[2:] == (*talk(4)[:1], left_out(18), *history[-2:])


def test_a_long_exchange_loses_its_oldest_calls_with_their_answers() -> None:
    steps = [message for number in range(10) for message in step(number)]
    history = (SYSTEM, *talk(99), user("work"), *steps)
    assert sent_with(history, tokens=150, count=each_is_ten) == (SYSTEM, user("work"), left_out(16), *steps[12:])
    assert sent_with(history, tokens=50, count=each_is_ten) == (SYSTEM, user("work"), left_out(22), *steps[18:])
    assert sent_with(history, tokens=40, count=each_is_ten) == (SYSTEM, user("work"), *steps[18:])
    # An exchange that lost calls is left out as a whole next.
    longer = (*history, AssistantMessage("done"), *talk(0), *talk(1), user("now"))
    assert sent_with(longer, tokens=150, count=each_is_ten) == (SYSTEM, left_out(26), *talk(0), *talk(1), user("now"))


def test_what_precedes_the_user_is_an_exchange_and_notes_are_none() -> None:
    history = (SYSTEM, AssistantMessage("Welcome."), AssistantMessage("How are you?"), user("a"), said("b"), user("c"))
    assert sent_with(history, exchanges=1) == (SYSTEM, left_out(4), user("c"))
    assert sent_with(history[:3], tokens=20, count=each_is_ten) == (SYSTEM, history[2])
    note = UserMessage("Again.", note=True)
    noted = (user("a"), said("b"), note, said("c"), user("d"), said("e"), note)
    assert sent_with(noted, exchanges=1) == (left_out(4), *noted[4:])
    assert sent_with([ToolMessage("z", "x"), user("a")], tokens=100) == (user("a"),)  # a broken history is repaired


def greet(name: str) -> str:
    """Greet someone."""
    return name


def test_tools_count_too() -> None:
    history = (*talks(3), user("now"))
    size = sum(map(estimated, history))
    assert sent_with(history, tokens=size) == history
    assert len(sent_with(history, tokens=size, tools=[greet])) < len(history)
    assert sent_with(history, tokens=140, tools=[greet], count=each_is_ten) == history
    assert len(sent_with(history, tokens=130, tools=[greet], count=each_is_ten)) < len(history)
    model = Scripted(said("done"))
    request = ChatRequest(history, response_format={"type": "json_schema", "json_schema": {"x": "y" * 100}})
    anyio.run(Trimmed(model, tokens=size).complete, request)
    assert len(model.requests[0].messages) < len(history)


def test_the_estimate() -> None:
    assert estimated(UserMessage("x" * 1000)) == -(-len(UserMessage("x" * 1000).encoded) // 4) == 257
    picture = UserMessage((TextPart("What?"), ImagePart("data:image/png;base64," + "A" * 1_000_000)))
    assert 1_000 < estimated(picture) < 1_100


def test_a_count_of_ones_own_is_asked_once_for_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimmed, "_MAX_CACHED_COUNTS", 12)
    counted: list[Message] = []

    def count(message: Message) -> int:
        counted.append(message)
        return 1

    model = Trimmed(Scripted(said("done")), tokens=1000, count=count)
    history = talks(2)
    for _ in range(5):
        anyio.run(model.complete, ChatRequest(history))
    assert len(counted) == 9  # with that of the note
    for more in (talks(4), history):
        anyio.run(model.complete, ChatRequest(more))
    assert len(counted) > 17  # what was known is bounded


@pytest.mark.parametrize("history", [(SYSTEM, *talks(2), user("y" * 1100)), (SYSTEM, user("go"), *step(1, "y" * 1000))])
def test_what_cannot_fit_is_told_before_anything_is_sent(history: tuple[Message, ...]) -> None:
    model = Scripted(said("done"))
    with pytest.raises(InvalidRequest, match=r"Trimmed\(tokens=200\)"):
        anyio.run(Trimmed(model, tokens=200).complete, ChatRequest(history))
    assert model.requests == []


def test_a_budget_that_makes_no_sense() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"tokens": 0},
        {"exchanges": -1},
        *[{"tokens": 5, "keep": share} for share in (0, 1.5)],
    ]
    for options in odd:
        with pytest.raises(ConfigurationError):
            Trimmed(Scripted(), **options)


@pytest.mark.anyio
async def test_an_agent_keeps_the_whole_history() -> None:
    def look() -> str:
        """Look."""
        return "y" * 400

    model = Scripted(*[called(("look", {}))] * 6, said("done"))
    result = await Agent(Trimmed(model, tokens=500), tools=[look]).run("go")
    assert len(result.messages) == 14
    assert max(len(request.messages) for request in model.requests) < 12
    assert sum(map(estimated, model.requests[-1].messages)) <= 500


# The laws

TEXT = st.integers(0, 60).map(lambda size: "x" * size)
REPLY = st.tuples(TEXT, st.lists(st.sampled_from(["", "", "y" * 30, "y" * 90]), max_size=3))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Message, ...]:
    """A sound history that ends where a request is sent."""
    messages: list[Message] = [SYSTEM, DeveloperMessage("Be brief.")]
    del messages[draw(st.integers(0, 2)) :]
    for number in range(draw(st.integers(1, 6))):
        messages.append(UserMessage(f"{number} {draw(TEXT)}"))
        for at, (text, answers) in enumerate(draw(st.lists(REPLY, max_size=4))):
            ids = [f"c{number}_{at}_{place}" for place in range(len(answers))]
            messages.append(AssistantMessage(text, tuple(ToolCall(id_, "f", "{}") for id_ in ids)))
            messages += [ToolMessage(id_, answer) for id_, answer in zip(ids, answers, strict=True)]
            messages += [UserMessage("Again.", note=True)] * draw(st.integers(0, 1))
    return tuple(messages)


def by_three(message: Message) -> int:
    return len(message.encoded) // 3 + 1


Budget: TypeAlias = dict[str, Any]
COUNTED = {"tokens": st.none(), "exchanges": st.integers(1, 4)}
MEASURED = {"tokens": st.integers(1, 200), "exchanges": st.none() | st.integers(1, 4)}
MORE = {"keep": st.floats(0.1, 1), "count": st.just(by_three)}
BUDGETS: st.SearchStrategy[Budget] = st.one_of(
    [st.fixed_dictionaries(kind, optional=MORE) for kind in (COUNTED, MEASURED)]
)


async def summary(messages: tuple[Message, ...]) -> str:
    return f"{len(messages)} messages. " * 20


def is_question(message: Message) -> bool:
    return isinstance(message, UserMessage) and not message.note


def size_of(messages: Sequence[Message], budget: dict[str, Any]) -> int:
    return sum(map(budget.get("count", estimated), messages))


@settings(max_examples=60)
@given(histories(), BUDGETS, st.sampled_from([{}, {"summarise": summary}]))
def test_whatever_is_sent_is_sound_and_fits(history: tuple[Message, ...], budget: Budget, more: Budget) -> None:
    head = [message for message in history[:2] if isinstance(message, SystemMessage | DeveloperMessage)]
    spoken = [at for at, message in enumerate(history) if is_question(message)]
    replies = [at for at, message in enumerate(history) if isinstance(message, AssistantMessage) and at > spoken[-1]]
    needed = [*head, history[spoken[-1]], *history[(replies or [len(history)])[-1] :]]
    if not replies:
        needed += history[spoken[-1] + 1 :]
    try:
        sent = sent_with(history, **budget, **more)
    except InvalidRequest:
        assert size_of(needed, budget) > budget["tokens"]
        return
    assert fault_in([json.loads(message.encoded) for message in sent]) is None
    assert budget["tokens"] is None or size_of(sent, budget) <= budget["tokens"]
    kept = [message for message in sent if message in history]
    assert len(sent) - len(kept) <= 1
    assert [message for message in needed if message not in kept] == []
    rest = iter(history)
    assert all(message in rest for message in kept)
    assert budget["exchanges"] is None or len(list(filter(is_question, sent))) <= budget["exchanges"]


def requests_of(history: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """Every request that would have been sent as a history grew."""
    ends = [at for at, message in enumerate(history) if at and isinstance(message, AssistantMessage)]
    return [history[:end] for end in (*ends, len(history))]


@settings(max_examples=30)
@given(histories(), BUDGETS)
def test_what_was_sent_stays_a_prefix_until_a_cut(history: tuple[Message, ...], budget: dict[str, Any]) -> None:
    before: tuple[Message, ...] = ()
    length = 0
    for messages in requests_of(history):
        try:
            sent = sent_with(messages, **budget)
        except InvalidRequest:
            before = ()
            continue
        if before and sent[: len(before)] != before:
            # There was no other way: with what has come since it would have been over the budget.
            whole = (*before, *messages[length:])
            spoken = list(filter(is_question, whole))
            over = budget["tokens"] is not None and size_of((*whole, left_out(10**6)), budget) > budget["tokens"]
            assert over or (budget["exchanges"] is not None and len(spoken) > budget["exchanges"])
        before, length = sent, len(messages)


def test_cuts_are_rare() -> None:
    """60 exchanges of some 60 tokens, one after the other, in 1,000 tokens."""
    model = Trimmed(scripted := Scripted(said("done")), tokens=1000)
    history: tuple[Message, ...] = (SYSTEM,)
    cuts = 0
    for number in range(60):
        history = (*history, *talk(number, "x" * 10))
        anyio.run(model.complete, ChatRequest(history))
        if number:
            before, sent = (request.messages for request in scripted.requests[-2:])
            cuts += sent[: len(before)] != before
    assert 3 < cuts < 12


def test_the_time_is_linear() -> None:
    model = Trimmed(Scripted(said("done")), tokens=2000)

    def seconds(many: int) -> float:
        request = ChatRequest((SYSTEM, *talks(many)))
        begin = process_time()
        model._trim(request)
        return process_time() - begin

    assert min(seconds(800) for _ in range(3)) < 30 * min(seconds(200) for _ in range(3))


def test_a_history_that_grows_is_cut_as_a_whole_one_is() -> None:
    model = Scripted(*[said("done")] * 60)
    budget: dict[str, Any] = {"tokens": 120, "exchanges": 3, "count": each_is_ten}
    window = Trimmed(model, **budget)
    growing: GrowingTuple[Message] = GrowingTuple()
    for message in (SYSTEM, *talks(5)):
        growing = growing.plus([message])
        for tools in ((), (plain,)):  # a request with other tools has another window
            anyio.run(window.complete, ChatRequest(growing, Toolbox(tools).specs))
            assert model.requests[-1].messages == sent_with(growing, tools=tools, **budget)


def plain(number: int) -> int:
    """Return a number."""
    return number
