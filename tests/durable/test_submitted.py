"""Submitted runs: wait for them, decide on them, watch them, cancel them."""

from datetime import UTC, datetime
from secrets import token_hex

import pytest
from anyio import fail_after, to_thread
from dbos import DBOSClient, WorkflowStatus

from agentkit import AssistantMessage, ToolCall, ToolMessage, approve, deny
from agentkit.core.errors import AgentkitError, InvalidRequest, RateLimited, RunCancelled
from agentkit.core.session import Started
from agentkit.durable import Runs
from tests.durable.conftest import ADDER, CLERK, ENDLESS, FAILER, NOBODYS, SLEEPER, TILL, TRAVELLER, set_row
from tests.durable.test_recording import Trip

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """DBOS runs its workflows on asyncio, whichever loop waits for them; one test waits on both."""
    backend: str = request.param
    return backend


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_result_is_that_of_a_plain_run(runs: Runs) -> None:
    with fail_after(20):
        result = await (await runs.submit(ADDER, "1+2?")).result()
        typed = await runs.submit(TRAVELLER, "Where to?")
        assert (await typed.result()).output == Trip("Rome", 2)
        dependent = await runs.submit(TILL, "Count.")
        assert f"7 in {dependent.id}" in [message.content for message in (await dependent.result()).messages]
    assert result == await ADDER.run("1+2?")
    assert repr(typed) == f"Submitted({typed.id!r})"
    with pytest.raises(InvalidRequest, match="nothing"):
        await runs.run("nothing", ADDER).info()


async def test_one_id_is_one_run(runs: Runs) -> None:
    name = token_hex(4)
    first = await runs.submit(ADDER, "1+2?", id=name)
    second = await runs.submit(ADDER, "Something else?", id=name)
    with fail_after(20):
        assert (await first.result()).messages == (await second.result()).messages
    info = await second.info()
    assert (info.id, info.agent, info.state, info.attempts) == (name, "adder", "done", 1)
    assert info.worker is not None
    assert abs((info.updated - datetime.now(UTC)).total_seconds()) < 60
    with pytest.raises(InvalidRequest, match="adder"):
        await runs.run(name, CLERK).result()


async def test_an_error_is_the_one_that_ended_it(runs: Runs) -> None:
    handle = await runs.submit(FAILER, "Hello")
    with fail_after(20), pytest.raises(RateLimited, match="too many requests") as caught:
        await handle.result()
    error = caught.value
    assert (error.status, error.code, error.retry_after, error.attempts) == (429, "slow_down", 2.5, 3)
    assert error.partial is not None
    assert [message.to_dict() for message in error.partial.messages] == [{"role": "user", "content": "Hello"}]
    assert (await handle.info()).state == "failed"
    odd = await runs.submit(FAILER, "odd")
    with fail_after(20), pytest.raises(AgentkitError, match="KeyError: 'an error of its own'"):
        await odd.result()


async def test_a_run_that_waits_is_decided_on(runs: Runs) -> None:
    handle = await runs.submit(CLERK, "Refund both.")
    with pytest.raises(InvalidRequest, match="does not wait"):
        await runs.run(handle.id, CLERK).decide([])
    with fail_after(20):
        result = await handle.result()
        assert (await handle.info()).state == "waiting"
        assert result.stop == "paused"
        first, second = await handle.pending()
        assert result.pending == (first, second)
        with pytest.raises(InvalidRequest, match="no call"):
            await handle.decide([approve(ToolCall("x", "refund", "{}"))])
        await handle.decide([approve(first)])
        assert (await handle.result()).pending == (second,)
        await handle.decide([deny(second, "too late")])
        result = await handle.result()
    assert (result.output, result.start, len(result.steps)) == ("done", 1, 2)
    answers = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert answers == ["refunded 1", "Not run: the user did not allow this call: too late."]
    assert await handle.pending() == ()


async def test_the_first_decision_holds(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await runs.submit(CLERK, "Refund both.")
    with fail_after(20):
        calls = (await handle.result()).pending
        late, same = runs.run(handle.id, CLERK), runs.run(handle.id, CLERK)
        before = await handle._last_part()

        async def looked_before() -> object:
            return before

        monkeypatch.setattr(late, "_last_part", looked_before)
        monkeypatch.setattr(same, "_last_part", looked_before)
        made = [approve(call) for call in calls]
        await handle.decide(made)
        await same.decide(made)  # which is the same
        with pytest.raises(InvalidRequest, match="someone else"):
            await late.decide([deny(call) for call in calls])
        assert (await handle.result()).output == "done"


async def test_what_is_recorded_can_be_watched(runs: Runs) -> None:
    handle = await runs.submit(ADDER, "1+2?")
    with fail_after(20):
        seen = [type(entry) async for entry in handle.watch()]
    assert (seen[0], seen[-1]) == (AssistantMessage, AssistantMessage)
    assert sorted(event.__name__ for event in seen[1:-1]) == ["Ended", "Started", "ToolMessage", "ToolMessage"]
    assert Started in seen


async def test_it_is_cancelled(runs: Runs) -> None:
    ENDLESS.asked.clear()
    ENDLESS.stopped.clear()
    handle = await runs.submit(SLEEPER, "Sleep.")
    with fail_after(20):
        assert await to_thread.run_sync(ENDLESS.asked.wait, 15)
        assert (await handle.info()).state == "running"
        assert handle.id in [info.id for info in await runs.list("running")]
        await handle.cancel()
        assert await to_thread.run_sync(ENDLESS.stopped.wait, 15)
        with pytest.raises(RunCancelled):
            await handle.result()
    assert (await handle.info()).state == "cancelled"


async def test_one_that_is_queued_or_waits_is_cancelled_and_one_that_ended_is_not(runs: Runs) -> None:
    queued = await runs.submit(NOBODYS, "Hello")
    await queued.cancel()
    waiting, done = await runs.submit(CLERK, "Refund both."), await runs.submit(ADDER, "1+2?")
    with fail_after(20):
        assert ((await waiting.result()).stop, (await done.result()).stop) == ("paused", "answer")
        await waiting.cancel()
        await done.cancel()
        with pytest.raises(RunCancelled):
            await waiting.result()
    assert [(await run.info()).state for run in (queued, waiting, done)] == ["cancelled", "cancelled", "done"]


async def test_one_that_comes_to_wait_as_it_is_cancelled_is_cancelled_too(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await runs.submit(CLERK, "Refund both.")
    with fail_after(20):
        await handle.result()
        (status, part), real = await handle._last_part(), handle._last_part
        status.status = "PENDING"
        looks = [(status, part)]

        async def looked_before() -> tuple[WorkflowStatus, int]:
            return looks.pop() if looks else await real()

        monkeypatch.setattr(handle, "_last_part", looked_before)
        await handle.cancel()
        assert (await handle.info()).state == "cancelled"


async def test_one_that_waits_is_cancelled_by_one_write(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await runs.submit(CLERK, "Refund both.")

    def dies(*_: object, **__: object) -> None:
        raise OSError("as where the process is killed")

    with fail_after(20):
        calls = (await handle.result()).pending
        monkeypatch.setattr(DBOSClient, "cancel_workflow", dies)
        with pytest.raises(OSError, match="killed"):
            await handle.cancel()
        assert [info.state for info in await runs.list("cancelled") if info.id == handle.id] == ["cancelled"]
        with pytest.raises(InvalidRequest, match="it is cancelled"):
            await handle.decide([approve(call) for call in calls])
        with pytest.raises(RunCancelled):
            await handle.result()


async def test_one_that_was_given_up(runs: Runs) -> None:
    handle = await runs.submit(NOBODYS, "Hello", id=f"given-up-{token_hex(4)}")
    set_row(runs, handle.id, "status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', recovery_attempts = 50")
    await handle.cancel()
    with pytest.raises(AgentkitError, match="50 times"):
        await handle.result()
