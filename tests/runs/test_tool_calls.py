import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from agentkit import Agent, Limits, Partial, State, Tool, ToolError, approve, tool
from agentkit.core.messages import AssistantMessage, ToolMessage, UserMessage
from agentkit.core.parts import ImagePart, TextPart
from agentkit.runs.events import ArgumentsRepaired, Event, ToolFinished, ToolProgress, ToolStarted
from agentkit.tool_choice import Call, both, budget, force, from_results, no_repeat, where
from tests.endpoint import fault_in
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio
one_backend = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def answers_of(
    *calls: tuple[str, Any], tools: list[Callable[..., Any] | Tool], **options: Any
) -> tuple[list[tuple[str, str]], list[Event]]:
    """Run the calls of one reply; return the outcome and the text of each result, and the events."""
    events: list[Event] = []
    model = Scripted(called(*calls), said("done"))
    result = await Agent(model, tools=tools, observers=[events.append], **options).run("go")
    messages = [message for message in result.messages if isinstance(message, ToolMessage)]
    assert [message.tool_call_id for message in messages] == [f"c{at}" for at in range(len(calls))]
    return [(message.outcome, message.content) for message in messages], events


T = TypeVar("T")


def of_kind(kind: type[T], events: list[Event]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def add(a: int, b: int) -> int:
    return a + b


async def add_async(a: int, b: int) -> int:
    await anyio.lowlevel.checkpoint()
    return a + b


NOTHING: dict[str, Any] = {}


async def test_calls_run_at_once_and_are_answered_in_order() -> None:
    started = anyio.Event()
    finished: list[str] = []

    async def first() -> str:
        await started.wait()  # would never come if the calls ran one after another
        finished.append("first")
        return "1"

    async def second() -> str:
        started.set()
        finished.append("second")
        return "2"

    answers, _ = await answers_of(("first", NOTHING), ("second", NOTHING), tools=[first, second])
    assert answers == [("ok", "1"), ("ok", "2")]
    assert finished == ["second", "first"]


async def test_sync_tools_run_at_once_in_threads_and_leave_the_loop_free() -> None:
    barrier = threading.Barrier(3)

    def meet(number: int) -> int:
        barrier.wait(60)
        return number

    async def loop_is_free() -> str:
        await anyio.to_thread.run_sync(barrier.wait, 60)
        return "yes"

    answers, _ = await answers_of(
        ("meet", {"number": 1}), ("meet", {"number": 2}), ("loop_is_free", NOTHING), tools=[meet, loop_is_free]
    )
    assert answers == [("ok", "1"), ("ok", "2"), ("ok", "yes")]


async def test_a_sequential_tool_runs_alone() -> None:
    log: list[str] = []

    async def read(name: str) -> str:
        log.append(f"begin {name}")
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        log.append(f"end {name}")
        return name

    @tool(sequential=True)
    async def write() -> str:
        log.append("begin write")
        await anyio.lowlevel.checkpoint()
        log.append("end write")
        return "written"

    made = [("read", {"name": "a"}), ("read", {"name": "b"}), *[("write", NOTHING)] * 2, ("read", {"name": "c"})]
    answers, _ = await answers_of(*made, tools=[read, write])
    assert [text for _, text in answers] == ["a", "b", "written", "written", "c"]
    assert set(log[:4]) == {"begin a", "begin b", "end a", "end b"}
    assert log[4:] == [*["begin write", "end write"] * 2, "begin c", "end c"]
    assert (await answers_of(("write", NOTHING), tools=[write]))[0] == [("ok", "written")]


@one_backend
@pytest.mark.parametrize(
    ("call", "key_words"),
    [
        (("divide", NOTHING), ["'divide'", "add, add_async"]),
        (("add", {"a": "many", "extra": 1}), ["add", "- a: ", '"many"', "- b: ", "- extra: "]),
        (("add", '{"a": 1, "b":'), ["Invalid JSON"]),
    ],
)
async def test_a_call_that_cannot_run_is_explained(call: tuple[str, Any], key_words: list[str]) -> None:
    ((outcome, text),), events = await answers_of(call, tools=[add, add_async])
    assert outcome == "error"
    assert [word for word in key_words if word in text] == key_words
    assert of_kind(ToolStarted, events) == []
    (finished,) = of_kind(ToolFinished, events)
    assert finished.error is not None


@one_backend
@pytest.mark.parametrize(
    ("name", "arguments", "repairs"),
    [
        ("add", '"{\\"a\\": 1, \\"b\\": 2}"', [("", "decoded once more")]),
        ("add", '```json\n{"a": 1, "b": 2}\n```', [("", "code fence removed")]),
        ("functions.add", {"a": 1, "b": 2}, [("name", "'functions.add' read as 'add'")]),
        ("Add", {"a": 1, "b": 2}, [("name", "'Add' read as 'add'")]),
    ],
)
async def test_repairs_are_events(name: str, arguments: Any, repairs: list[Any]) -> None:
    answers, events = await answers_of((name, arguments), tools=[add])
    assert answers == [("ok", "3")]
    assert [list(event.repairs) for event in of_kind(ArgumentsRepaired, events)] == [repairs]


@one_backend
async def test_null_in_a_strict_tool_is_no_mend() -> None:
    @tool(strict=True)
    def greet(name: str = "you") -> str:
        return f"Hello {name}"

    answers, events = await answers_of(("greet", {"name": None}), tools=[greet])
    assert answers == [("ok", "Hello you")]
    assert of_kind(ArgumentsRepaired, events) == []


def fails() -> None:
    raise ValueError("no such order")


def refuses() -> None:
    raise ToolError("ask again on Monday")


def leaves() -> None:
    raise SystemExit(3)


def stops() -> None:
    raise StopIteration


async def fails_async() -> None:
    raise ValueError("no such order")


async def fails_in_a_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(fails_async)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (fails, "ValueError: no such order"),
        (fails_async, "ValueError: no such order"),
        (fails_in_a_group, "ValueError: no such order"),
        (refuses, "ask again on Monday"),
        (leaves, "SystemExit: 3"),
        (stops, "StopIteration"),
    ],
)
async def test_what_a_tool_raises_is_an_answer(function: Any, text: str) -> None:
    answers, events = await answers_of((function.__name__, {}), tools=[function])
    assert answers == [("error", text)]
    (finished,) = of_kind(ToolFinished, events)
    assert finished.error is not None
    assert finished.error.__traceback__ is not None


def sorry(error: Exception) -> str:
    return f"Sorry: {error}"


@one_backend
async def test_errors_can_be_hidden_or_written_by_a_function() -> None:
    @tool(errors="show")
    def open_hearted() -> None:
        raise ValueError("shown all the same")

    tools: list[Callable[..., Any] | Tool] = [fails, refuses, open_hearted, add]
    calls = [("fails", NOTHING), ("refuses", NOTHING), ("open_hearted", NOTHING), ("add", {"a": 2, "b": 2})]
    answers, events = await answers_of(*calls, tools=tools, errors="hide")
    assert "incident" in answers[0][1]
    assert "no such order" not in answers[0][1]
    assert answers[1:] == [("error", "ask again on Monday"), ("error", "ValueError: shown all the same"), ("ok", "4")]
    assert "no such order" in [str(event.error) for event in of_kind(ToolFinished, events)]
    assert (await answers_of(calls[0], tools=tools, errors=sorry))[0] == [("error", "Sorry: no such order")]


async def test_a_tool_that_takes_too_long_is_answered() -> None:
    @tool(timeout=0.2)
    async def slow() -> None:
        await anyio.sleep_forever()

    release = threading.Event()

    @tool(timeout=0.2)
    def stubborn() -> None:
        release.wait(120)

    answers, _ = await answers_of(
        ("slow", NOTHING), ("stubborn", NOTHING), ("add", {"a": 1, "b": 1}), tools=[slow, stubborn, add]
    )
    release.set()
    assert answers == [
        ("error", "slow did not finish in 0.2 s"),
        ("error", "stubborn did not finish in 0.2 s"),
        ("ok", "2"),
    ]


@one_backend
async def test_waiting_for_a_thread_does_not_count() -> None:
    @tool(timeout=2)
    def work() -> str:
        time.sleep(1.1)  # together they take longer than one may
        return "done"

    answers, events = await answers_of(("work", NOTHING), ("work", NOTHING), tools=[work], threads=1)
    assert answers == [("ok", "done"), ("ok", "done")]
    assert all(event.seconds < 2 for event in of_kind(ToolFinished, events))
    kinds = [type(event) for event in events if isinstance(event, ToolStarted | ToolFinished)]
    assert kinds == [ToolStarted, ToolFinished] * 2


@one_backend
async def test_the_arguments_say_whether_a_person_decides() -> None:
    @tool(approval=lambda arguments: 1 / int(str(arguments["a"])) > 1)
    def pay(a: int) -> int:
        return a

    calls = called(("pay", {"a": 1}), ("pay", {"a": 0}))
    result = await Agent(Scripted(calls), tools=[pay]).run("go")
    assert [call.id for call in result.pending] == ["c1"]  # where the function fails, a person decides


@one_backend
async def test_notes_beside_a_result_are_not_part_of_what_policies_read() -> None:
    def orders() -> list[int]:
        return list(range(100))

    @tool(approval=True)
    def cancel(order: int) -> str:
        return str(order)

    results: list[list[str]] = []

    def note(state: State) -> str:
        results.append([record.result for record in state.calls])
        return "auto"

    model = Scripted(called(("orders", NOTHING), ("cancel", {"order": 1})), said("done"))
    policy = both(note, budget(2))
    agent = Agent(model, tools=[orders, cancel], tool_choice=policy, limits=Limits(result=200))
    result = await agent.run("go", approver=lambda call: approve(call, {"order": 2}))
    first, second = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert "Note: " in first
    assert "Note: " in second
    assert "The user changed the arguments" in second
    assert results[-1] == [json.dumps(list(range(100)), separators=(",", ":")), "2"]


async def test_the_policy_adds_a_remark_to_a_result() -> None:
    answers, _ = await answers_of(*[("add", {"a": 1, "b": 1})] * 2, tools=[add], tool_choice=no_repeat(2))
    assert sorted(text.partition("\n\n")[0] for _, text in answers) == ["2", "2"]
    assert "\n\n" in answers[1][1]


class Broken(Exception):
    pass


Kind: TypeAlias = type[ToolStarted | ToolFinished | ToolProgress | ArgumentsRepaired]


def breaking(kind: Kind, name: str) -> Callable[[Event], None]:
    def observer(event: Event) -> None:
        if isinstance(event, kind) and event.call.name == name:
            raise Broken(name)

    return observer


async def waits() -> None:
    await anyio.sleep_forever()


def tells() -> Iterator[int]:
    yield 1
    yield 2


@pytest.mark.parametrize(
    ("kind", "name", "calls"),
    [
        (ToolStarted, "add", ["add"]),
        (ToolStarted, "add", ["waits", "add", "fails"]),
        (ToolFinished, "add", ["waits", "add"]),
        (ToolFinished, "unknown", ["waits", "unknown"]),
        (ToolProgress, "tells", ["waits", "tells"]),
        (ArgumentsRepaired, "functions.add", ["waits", "functions.add"]),
    ],
)
async def test_what_an_observer_raises_ends_the_run_as_it_is(kind: Kind, name: str, calls: list[str]) -> None:
    events: list[Event] = []
    arguments = {"add": {"a": 1, "b": 2}, "functions.add": {"a": 1, "b": 2}}
    model = Scripted(called(*[(call, arguments.get(call, NOTHING)) for call in calls]), said("done"))
    agent = Agent(model, tools=[add, fails, waits, tells], observers=[events.append, breaking(kind, name)])
    with anyio.fail_after(60), pytest.raises(Broken) as caught:
        await agent.run("go")
    partial: Partial = vars(caught.value)["partial"]
    assert fault_in([message.to_dict() for message in partial.messages]) is None
    if kind is not ArgumentsRepaired:  # which comes before the reply is in the history
        assert len(partial.messages) == 2 + len(calls)
    assert not any(isinstance(event, ToolFinished) and isinstance(event.error, Broken) for event in events)
    if kind is ToolProgress:
        assert len(of_kind(ToolProgress, events)) == 1  # the tool does not go on


async def test_an_observer_s_error_is_not_lost_in_a_cancellation() -> None:
    """On trio both are in one group then, and the cancellation may come first."""
    started = anyio.Event()

    async def stays() -> str:
        started.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
            return "stayed"
        raise AssertionError

    model = Scripted(called(("waits", NOTHING), ("stays", NOTHING)), said("done"))
    agent = Agent(model, tools=[waits, stays], observers=[breaking(ToolFinished, "stays")])
    caught: list[BaseException] = []

    async def run() -> None:
        with pytest.raises(Broken) as raised:
            await agent.run("go")
        caught.append(raised.value)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await started.wait()
            group.cancel_scope.cancel()
    assert [type(error) for error in caught] == [Broken]


class Stop(BaseException):
    pass


async def test_what_is_raised_that_is_no_exception_leaves_as_it_is() -> None:
    def observer(event: Event) -> None:
        if isinstance(event, ToolFinished):
            raise Stop

    model = Scripted(called(("add", {"a": 1, "b": 1}), ("waits", NOTHING)), said("done"))
    with pytest.raises(Stop):
        await Agent(model, tools=[add, waits], observers=[observer]).run("go")


IMAGE = ImagePart("https://a.b/1.png")
OTHER = ImagePart("data:image/png;base64,AA==", "low")


def picture() -> ImagePart:
    return IMAGE


async def pictures() -> list[object]:
    return ["two of them:", IMAGE, {"and": 1}, OTHER]


@one_backend
async def test_images_are_shown_after_all_the_results() -> None:
    calls = [("pictures", NOTHING), ("add", {"a": 1, "b": 2}), ("picture", NOTHING)]
    model = Scripted(called(*calls), said("a cat"))
    result = await Agent(model, tools=[picture, pictures, add]).run("go")
    kinds = [type(message) for message in result.messages]
    assert kinds == [UserMessage, AssistantMessage, *[ToolMessage] * 3, UserMessage, AssistantMessage]
    texts = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert texts == ['two of them:\n{"and":1}', "3", "The image is shown after the results."]
    last = model.requests[1].messages[-1]
    assert last == UserMessage((TextPart("The images that the tools returned:"), IMAGE, OTHER, IMAGE), note=True)
    # Going on with the history does not show them again.
    again = await Agent(model, tools=[]).run([*result.messages, UserMessage("and?")])
    assert again.messages[: len(result.messages)] == result.messages
    with_open_end = await Agent(model, tools=[picture]).run(result.messages[:5])
    assert with_open_end.messages[:-1] == result.messages[:-1]


# ---- judging


@one_backend
async def test_a_call_is_judged_with_the_defaults_of_what_was_left_out() -> None:
    judged: list[dict[str, Any]] = []

    def pay(amount: int = 500, to: str = "us") -> str:
        return "paid"

    def is_small(call: Call, state: State) -> bool:
        judged.append(dict(call.arguments))
        return call["amount"] <= 100  # type: ignore[no-any-return]

    made = [("pay", NOTHING), ("pay", {"amount": 50})]
    answers, _ = await answers_of(*made, tools=[pay], tool_choice=where(pay, is_small))
    assert [outcome for outcome, _ in answers] == ["refused", "ok"]
    assert judged == [{"amount": 500, "to": "us"}, {"amount": 50, "to": "us"}]


@one_backend
async def test_a_call_that_the_approver_denied_takes_nothing_from_those_after_it() -> None:
    def pay(amount: int) -> str:
        return f"paid {amount}"

    made = [("pay", {"amount": 500}), ("pay", {"amount": 50})]
    model = Scripted(called(*made), said("done"))
    policy = where(pay, lambda call, state: call["amount"] <= 100, otherwise="ask") & budget(1)
    result = await Agent(model, tools=[pay], tool_choice=policy).run("go", approver=lambda call: False)
    answers = [message.outcome for message in result.messages if isinstance(message, ToolMessage)]
    assert answers == ["refused", "ok"]


@one_backend
async def test_policies_read_what_a_tool_returned_without_the_notes_for_the_model() -> None:
    def list_orders() -> list[str]:
        return ["o-1", "o-2"] + ["o-3"] * 500

    def cancel(order: str) -> str:
        return f"cancelled {order}"

    made = [called(("list_orders", NOTHING)), called(("cancel", {"order": "o-2"}), ("cancel", {"order": "o-9"}))]
    policy = budget(2) & from_results(cancel, "order", of=list_orders)
    agent = Agent(
        Scripted(*made), tools=[list_orders, cancel], tool_choice=policy, stop_at=cancel, limits=Limits(result=200)
    )
    result = await agent.run("go")
    answers = [message for message in result.messages if isinstance(message, ToolMessage)]
    assert [(message.outcome, "Note:" in message.content) for message in answers[:2]] == [("ok", True)] * 2
    assert answers[2].outcome == "refused"
    assert (result.output, result.stop) == ("cancelled o-2", "tool")
    again = Agent(Scripted(made[1]), tools=[list_orders, cancel], tool_choice=policy, stop_at=cancel)
    assert (await again.run(result.messages[:3])).output == "cancelled o-2"


async def test_open_calls_run_where_the_policy_contradicts_itself_now() -> None:
    def note(text: str) -> str:
        return text

    def other() -> str:
        return "other"

    def torn(state: State) -> Any:
        return "auto" if state.calls else both(force("note"), force("other"))

    agent = Agent(Scripted(said("done")), tools=[note, other], tool_choice=torn)
    result = await agent.run([UserMessage("go"), called(("note", {"text": "kept"}))])
    assert (result.output, result.messages[2]) == ("done", ToolMessage("c0", "kept"))
