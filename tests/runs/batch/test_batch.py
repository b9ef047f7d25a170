import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import Event, create_task_group, fail_after

from agentkit import Agent, Input, Journal, JsonLines, Limits, Memory, Price, Sqlite, ToolContext, tool
from agentkit.core import errors
from agentkit.core.chat import ChatRequest, Settings
from agentkit.core.messages import UserMessage
from agentkit.runs.events import Event as RunEvent
from agentkit.runs.events import RunStarted
from agentkit.testing import FunctionModel, calling
from agentkit.testing.models import Spoken
from tests.programs import PATIENCE

pytestmark = pytest.mark.anyio


def asked(request: ChatRequest) -> str:
    """What the user said last."""
    found = [message.content for message in request.messages if isinstance(message, UserMessage)]
    return str(found[-1])


def shout(request: ChatRequest) -> Spoken:
    said = asked(request)
    return errors.RequestRefused("no", status=400) if said == "bad" else said.upper()


def shouting(**options: Any) -> tuple[Agent, FunctionModel]:
    model = FunctionModel(shout)
    return Agent(model, **options), model


@tool(effect="once")
def pay() -> str:
    """Pay."""
    return "paid"


async def test_results_come_in_order_whatever_ends_first() -> None:
    gates = {item: Event() for item in "abc"}

    async def slow(request: ChatRequest) -> str:
        said = asked(request)
        await gates[said].wait()
        if said != "a":
            gates[chr(ord(said) - 1)].set()
        return said.upper()

    gates["c"].set()
    batch = await Agent(FunctionModel(slow)).map(["a", "b", "c"], concurrency=3)
    assert batch.outputs == ["A", "B", "C"]
    assert [(item.index, item.stored) for item in batch] == [(0, False), (1, False), (2, False)]
    assert (batch.summary.done, batch.summary.usage.requests, batch.summary.stopped) == (3, 3, None)
    assert batch.all[0].result is not None
    assert len(batch.all[0].result.messages) == 2


async def test_outcomes_come_as_inputs_end() -> None:
    first = Event()

    async def slow(request: ChatRequest) -> str:
        if asked(request) == "slow":
            await first.wait()
        return asked(request)

    seen: list[str] = []
    async with Agent(FunctionModel(slow)).map(["slow", "fast"]) as batch:
        async for item in batch:
            seen.append(item.output)
            assert batch.summary.ended == len(seen)
            first.set()
    assert seen == ["fast", "slow"]


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_so_many_at_once_and_inputs_are_pulled_when_there_is_room(concurrency: int) -> None:
    inside = most = pulled = taken = 0
    full = Event()

    async def model(_request: ChatRequest) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            if inside == concurrency:
                full.set()
            await full.wait()
        finally:
            inside -= 1
        return "x"

    def inputs() -> Iterator[str]:
        nonlocal pulled
        for number in count():  # there is no end
            pulled += 1
            assert pulled <= taken + 2 * concurrency + 1
            yield str(number)

    async with Agent(FunctionModel(model)).map(inputs(), concurrency=concurrency) as batch:
        async for _ in batch:
            taken += 1
            await anyio.lowlevel.checkpoint()
            if taken == 50:
                break
    assert most == concurrency
    assert inside == 0


async def test_inputs_of_each_kind() -> None:
    prompts: list[Any] = [UserMessage("a"), [{"role": "user", "content": "b"}], Input("c"), "d"]

    async def inputs() -> AsyncIterator[Any]:
        for prompt in prompts:
            await anyio.lowlevel.checkpoint()
            yield prompt

    agent, _ = shouting()
    assert (await agent.map(prompts)).outputs == (await agent.map(inputs())).outputs == ["A", "B", "C", "D"]


async def test_one_that_fails_does_not_end_the_others() -> None:
    agent, model = shouting()
    batch = await agent.map(["a", "bad", [], [{"role": "king"}], "b"], concurrency=1)
    assert [item.failure for item in batch] == [None, "RequestRefused", "InvalidRequest", "InvalidRequest", None]
    assert batch.summary.failures == {"RequestRefused": 1, "InvalidRequest": 2}
    assert len(model.requests) == 3
    assert [item.index for item in batch.failed] == [1, 2, 3]

    def observer(_event: RunEvent) -> None:
        raise ZeroDivisionError

    agent, _ = shouting(observers=[observer])
    assert (await agent.map(["a"])).summary.failures == {"ZeroDivisionError": 1}


async def test_what_every_input_would_meet_stops_the_batch(tmp_path: Path) -> None:
    def model(request: ChatRequest) -> Spoken:
        return errors.AuthenticationFailed("wrong key", status=401) if asked(request) == "b" else "x"

    path = tmp_path / "batch.jsonl"
    batch = await Agent(FunctionModel(model)).map(list("abcd"), concurrency=1, journal=path)
    assert isinstance(batch.summary.stopped, errors.AuthenticationFailed)
    assert [item.failure for item in batch] == [None, "AuthenticationFailed"]
    again = await Agent(FunctionModel(lambda _: "y", name="model")).map(
        list("abcd"), journal=Journal(path, failures="keep")
    )
    assert [item.output for item in again] == ["x", "y", "y", "y"]


async def test_a_rerun_with_the_journal_skips_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    agent, model = shouting()
    inputs = ["a", "b", "a", "bad"]
    await agent.map(["b"], journal=path)  # the order of the inputs may change
    first = await agent.map(inputs, journal=path)
    assert len({item.key for item in first}) == 4
    model.requests.clear()
    second = await agent.map([*inputs, "c"], journal=str(path))
    assert [asked(request) for request in model.requests] == ["bad", "c"] or len(model.requests) == 2
    assert [item.stored for item in second] == [True, True, True, False, False]
    assert [item.key for item in second][:4] == [item.key for item in first]
    assert second.all[0].result is not None
    assert (second.all[0].output, second.all[0].result.messages, second.all[0].result.usage.requests) == ("A", (), 1)
    assert (second.summary.stored, second.summary.failed, second.summary.done) == (3, 1, 4)
    assert second.summary.usage.requests == 4  # of both
    third = await agent.map(inputs, journal=Journal(path, failures="keep"))
    assert isinstance(third.all[3].error, errors.StoredFailure)
    assert third.all[3].failure == "RequestRefused"


async def test_keys_of_ones_own(tmp_path: Path) -> None:
    agent, _ = shouting()
    path = tmp_path / "batch.jsonl"

    def key(prompt: str) -> str:
        return f"id-{prompt[0]}"

    batch = await agent.map(["apple", "pear", "avocado"], key=key, journal=path)
    assert [item.key for item in batch] == ["id-a", "id-p", "id-a#2"]
    batch = await agent.map([Input("other", key="id-p"), Input("more", key="x\ud800")], journal=path)
    assert [(item.output, item.stored, item.key) for item in batch] == [
        ("PEAR", True, "id-p"),
        ("MORE", False, "x\ufffd"),
    ]
    with pytest.raises(errors.InvalidRequest):
        await agent.map(["a"], key=lambda _: 7)  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"instructions": "Shout."}, "instructions"),
        ({"tools": [pay]}, "tools"),
        ({"max_repeats": 3}, "tool_choice"),
        ({"settings": Settings(temperature=0)}, "settings"),
        ({"output": int}, "tool_choice, output"),
    ],
)
async def test_a_journal_is_that_of_one_agent(change: dict[str, Any], part: str, tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"

    model = FunctionModel(shout)
    await Agent(model).map(["a"], journal=path)
    with pytest.raises(errors.JournalError, match=part):
        await Agent(model, **change).map(["a", "b"], journal=path)
    assert len(model.requests) == 1
    batch = await Agent(model, limits=Limits(steps=3), name="other", prices=Price(1, 1)).map(["a"], journal=path)
    assert batch.all[0].stored  # these make no difference to an answer
    if "output" not in change:
        batch = await Agent(model, **change).map(["a", "b"], journal=Journal(path, changed="accept"))
        assert [item.stored for item in batch] == [True, False]


async def test_deps_of_the_batch_and_of_an_input() -> None:
    def model(request: ChatRequest) -> Spoken:
        last = request.messages[-1]
        return calling(("name_of_shop", {})) if isinstance(last, UserMessage) else str(last.content)

    def name_of_shop(ctx: ToolContext[str]) -> str:
        return ctx.deps

    agent = Agent(FunctionModel(model), tools=[name_of_shop], deps_type=str)
    inputs: list[Any] = [Input("a", deps="of a"), Input("b"), "c"]
    assert (await agent.map(inputs, deps="of all")).outputs == ["of a", "of all", "of all"]
    assert (await agent.map(["a"])).summary.failures == {"InvalidRequest": 1}


async def test_each_has_a_conversation_of_its_own(tmp_path: Path) -> None:
    chats = Sqlite(tmp_path / "chats.db")
    agent, _ = shouting()
    own = Memory()
    await agent.map([Input("a", key="ann"), Input("b", session=own)], session=chats.conversation)
    assert [message.content for message in (await chats.conversation("ann").load()).messages] == ["a", "A"]
    assert [message.content for message in (await own.load()).messages] == ["b", "B"]


@pytest.mark.parametrize("before", [[], ["a", "hello"]])
async def test_an_interrupted_conversation_goes_on(before: list[str], tmp_path: Path) -> None:
    """The first reply had come and its call was run; then the process ends. It is neither asked for nor run again."""
    path, chat = tmp_path / "batch.jsonl", JsonLines(tmp_path / "chat.jsonl")
    here = Event()
    asked_for: list[str] = []
    hangs = True

    async def model(request: ChatRequest) -> Spoken:
        last = request.messages[-1]
        asked_for.append(type(last).__name__)
        if isinstance(last, UserMessage):
            return "hello" if before and len(request.messages) == 1 else calling(("pay", {}))
        if hangs:
            here.set()
            await anyio.sleep_forever()
        return "done"

    agent = Agent(FunctionModel(model), tools=[pay])
    if before:
        await agent.run(before[0], session=chat)
        asked_for.clear()
    async with create_task_group() as group:
        async with agent.map([Input("a", session=chat)], journal=path):
            with fail_after(60):
                await here.wait()
        group.cancel_scope.cancel()
    hangs = False
    batch = await agent.map([Input("a", session=chat)], journal=path)
    assert batch.outputs == ["done"]
    assert asked_for == ["UserMessage", "ToolMessage", "ToolMessage"]
    assert [message.content for message in (await chat.load()).messages][-4:] == ["a", None, "paid", "done"]


async def test_a_conversation_in_which_the_user_said_more_is_asked_again(tmp_path: Path) -> None:
    path, chat = tmp_path / "batch.jsonl", Memory()
    agent, _ = shouting()
    await agent.map([Input("bad", session=chat)], journal=path)
    await agent.run("more", session=chat)
    await agent.map([Input("bad", session=chat)], journal=path)
    assert [message.content for message in (await chat.load()).messages] == ["bad", "more", "MORE", "bad"]


@pytest.mark.parametrize(
    ("limit", "options", "done"),
    [("requests", {"requests": 5}, 5), ("tokens", {"tokens": 46}, 4), ("cost", {"cost": 0.00004}, 4)],
)
async def test_limits_of_the_whole_batch(limit: str, options: dict[str, Any], done: int, tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    agent, model = shouting(prices=Price(1, 0))
    inputs = [f"letter {number}" for number in range(10)]
    batch = await agent.map(inputs, journal=path, concurrency=1, **options)
    assert isinstance(batch.summary.stopped, errors.LimitReached)
    assert batch.summary.stopped.limit == limit
    assert (batch.summary.done, len(batch), len(model.requests)) == (done, done, done)
    stuck = await agent.map(inputs, journal=path, **options)
    assert (stuck.summary.done, len(model.requests)) == (done, done)  # earlier runs count
    whole = await agent.map(inputs, journal=path)
    assert (len(whole.outputs), len(model.requests)) == (10, 10)


async def test_a_run_that_the_limit_of_the_batch_ends_is_run_again(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"

    def model(request: ChatRequest) -> Spoken:
        return calling(("pay", {})) if isinstance(request.messages[-1], UserMessage) else "done"

    agent = Agent(FunctionModel(model), tools=[pay])
    batch = await agent.map(["a", "b", "c"], journal=path, requests=3, concurrency=1)
    assert [item.failure for item in batch] == [None, "LimitReached"]
    error = batch.all[1].error
    assert isinstance(error, errors.LimitReached)
    assert error is batch.summary.stopped
    assert "the same journal and a higher limit" in str(error)
    assert error.partial is not None
    assert error.partial.usage.requests == 1
    again = await agent.map(["a", "b", "c"], journal=Journal(path, failures="keep"), requests=100)
    assert again.outputs == ["done"] * 3
    assert again.summary.usage.requests == 3 + 4


async def test_what_waits_for_approval_is_run_again_or_decided(tmp_path: Path) -> None:
    careful = tool(name="pay", approval=True)(lambda: "paid")

    def model(request: ChatRequest) -> Spoken:
        return calling(("pay", {})) if isinstance(request.messages[-1], UserMessage) else "done"

    agent = Agent(FunctionModel(model), tools=[careful])
    chats = Sqlite(tmp_path / "chats.db")
    path = tmp_path / "batch.jsonl"
    batch = await agent.map(["a"], journal=path, session=chats.conversation)
    assert (batch.summary.paused, batch.summary.done) == (1, 0)
    batch = await agent.map(["a"], journal=path, session=chats.conversation, approver=lambda _: True)
    assert (batch.outputs, batch.summary.usage.requests) == (["done"], 2)


async def test_runs_of_a_batch_are_no_runs_within_another() -> None:
    parents: list[str | None] = []

    def observer(event: RunEvent) -> None:
        if isinstance(event, RunStarted):
            parents.append(event.parent)

    def model(request: ChatRequest) -> Spoken:
        return calling(("ask", {"prompt": "x"})) if isinstance(request.messages[-1], UserMessage) else "done"

    inner = Agent(FunctionModel(lambda _: "inner"))
    outer = Agent(
        FunctionModel(model), tools=[inner.as_tool("ask", "Ask.")], observers=[observer], limits=Limits(depth=1)
    )
    batch = await outer.map(["a"])
    assert parents == [None]
    assert batch.summary.usage.requests == 3


async def test_a_journal_that_cannot_be_written_ends_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, _ = shouting()
    path = tmp_path / "batch.jsonl"
    await agent.map([], journal=path)

    def write(_fd: int, _data: bytes) -> int:
        return 0

    monkeypatch.setattr("agentkit.runs.batch.journal.os.write", write)
    with pytest.raises(errors.JournalError, match="No space left"):
        await agent.map(["a", "b"], journal=path)
    with pytest.raises(errors.JournalError, match="No space left"):
        await agent.map([Input("a", session=Memory())], journal=path)


async def test_inputs_that_raise_end_the_batch_and_what_ended_is_kept(tmp_path: Path) -> None:
    def inputs() -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    agent, model = shouting()
    with pytest.raises(ZeroDivisionError):
        await agent.map(inputs(), journal=tmp_path / "batch.jsonl", concurrency=1)
    assert (await agent.map(["a"], journal=tmp_path / "batch.jsonl")).outputs == ["A"]
    assert len(model.requests) == 1


async def test_a_batch_runs_once_and_is_entered_first() -> None:
    agent, _ = shouting()
    batch = agent.map(["a"])
    with pytest.raises(errors.InvalidRequest):
        await anext(batch)
    assert (await batch).outputs == ["A"]
    with pytest.raises(errors.InvalidRequest):
        await batch


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": True}, {"cost": 0}, {"requests": -1}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError):
        shouting()[0].map([], **options)
    for inputs in ("hello", {"role": "user"}, 7, None):
        with pytest.raises(errors.InvalidRequest):
            shouting()[0].map(inputs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_cancellation_says_how_to_resume(tmp_path: Path) -> None:
    here = Event()
    notes: list[str] = []

    async def model(request: ChatRequest) -> str:
        if asked(request) == "b":
            here.set()
            await anyio.sleep_forever()
        return "x"

    async def work() -> None:
        try:
            await Agent(FunctionModel(model)).map(["a", "b"], journal=tmp_path / "batch.jsonl", concurrency=1)
        except BaseException as stopped:
            notes.extend(getattr(stopped, "__notes__", []))
            raise

    with fail_after(60):
        async with create_task_group() as group:
            group.start_soon(work)
            await here.wait()
            group.cancel_scope.cancel()
    (note,) = notes
    assert note.startswith("1 inputs")
    assert str(tmp_path / "batch.jsonl") in note


def test_code_that_is_not_async(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    agent, _ = shouting()
    assert agent.map_sync(["a", "b"]).outputs == ["A", "B"]

    def interrupted(_function: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agentkit.runs.batch.batch.run_blocking", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        agent.map_sync(["a"])
    assert not hasattr(raised.value, "__notes__")


CHILD = """
import os, signal, sys
from agentkit import Agent, Journal
from agentkit.testing import FunctionModel

def answer(request):
    if len(model.requests) == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return "Answer to " + request.messages[-1].content

model = FunctionModel(answer, name="m")
inputs = map("letter {}".format, range(200))
Agent(model).map_sync(inputs, concurrency=16, journal=Journal(sys.argv[1], sync=False))
"""


def test_a_process_that_is_killed_half_way_and_a_rerun_in_another(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    child = subprocess.run([sys.executable, "-c", CHILD, str(path)], timeout=PATIENCE, check=False)  # noqa: S603 (our own)
    assert child.returncode == -signal.SIGKILL
    kept = path.read_bytes().split(b"\n")[2:-1]
    assert 100 - 32 <= len(kept) < 100
    model = FunctionModel(lambda request: f"Answer to {asked(request)}", name="m")
    again = Agent(model).map_sync(map("letter {}".format, range(200)), concurrency=16, journal=path)
    assert again.outputs == [f"Answer to letter {number}" for number in range(200)]
    assert (again.summary.stored, len(model.requests)) == (len(kept), 200 - len(kept))
    assert len(path.read_text().splitlines()) == 2 + 200
