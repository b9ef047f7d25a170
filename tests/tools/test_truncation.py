import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, ImagePart, Limits, Message, Tool, ToolError, ToolMessage, UserMessage, tool
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.tool_choice import budget, first, no_repeat, only
from agentkit.tools.truncation import READ_RESULT, result_reader, truncate
from tests.endpoint import fault_in
from tests.scripted import Scripted, called, said
from tests.strategies import any_text

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


TEXT = "".join(f"{number:06d} " for number in range(1000))  # 7,000 characters, each place to be told from any other
NOTE = re.compile(
    r"\n\n\[([\d,]+) of ([\d,]+) characters are left out here. "
    r"To read them: read_result\(call_id='(.+?)', start=(\d+)\)\]\n\n",
    re.DOTALL,
)


def report() -> str:
    return TEXT


def brief() -> str:
    return "brief"


def short_report() -> str:
    return TEXT[:50]


def read(tool: Tool, **arguments: Any) -> tuple[int, int, str]:
    """Read a part: where it begins and ends, and its text."""
    heading, _, part = str(tool.function(**arguments)).partition("\n")
    found = re.fullmatch(r"\[characters ([\d,]+) to ([\d,]+) of ([\d,]+)\]", heading)
    assert found is not None
    begin, end, _ = (int(number.replace(",", "")) for number in found.groups())
    return begin, end, part


@given(any_text(max_size=300), st.integers(1, 400), st.integers(1, 200))
def test_head_and_tail_are_sent_and_every_character_can_be_read(text: str, length: int, limit: int) -> None:
    part = truncate(text, limit, "c0")
    assert (part is None) == (len(text) <= limit)
    if part is None:
        return
    head = limit * 2 // 3
    note = NOTE.search(part, head)
    assert note is not None
    assert note.groups() == (f"{len(text) - limit:,}", f"{len(text):,}", "c0", str(head))
    assert part[: note.start()] + part[note.end() :] == text[:head] + text[len(text) - (limit - head) :]
    reader = result_reader((ToolMessage("c0", part, full=text),), limit)
    at, parts = head, [text[:head]]
    while at < len(text):
        begin, end, found = read(reader, call_id="c0", start=at, length=length)
        assert (begin, end - begin) == (at, len(found))
        assert 0 < len(found) <= min(length, limit)
        parts.append(found)
        at = end
    assert "".join(parts) == text


def test_what_is_asked_for_oddly() -> None:
    reader = result_reader((ToolMessage("c0", "…", full=TEXT), ToolMessage("c1", "brief")), None)
    assert read(reader, call_id="c0") == (0, 7000, TEXT)
    assert read(reader, call_id="c0", start=-5, length=-5) == (0, 1, "0")
    assert read(reader, call_id="c0", start=10**9) == (10**9, 10**9, "")
    assert read(reader, call_id="c0", start=6990, length=10**9) == (6990, 7000, TEXT[6990:])
    for call_id in ("c1", "c7"):
        with pytest.raises(ToolError, match=f"no shortened result '{call_id}'; there are: c0"):
            reader.function(call_id)


async def results_of(model: Scripted, tools: list[Any], limit: int | None, **options: Any) -> list[ToolMessage]:
    result = await Agent(model, tools=tools, limits=Limits(result=limit), **options).run("go")
    return [message for message in result.messages if isinstance(message, ToolMessage)]


def offered(model: Scripted) -> list[list[str]]:
    return [[tool.name for tool in request.tools] for request in model.requests]


async def test_a_long_result_is_shortened_and_its_rest_is_read() -> None:
    reads = [called((READ_RESULT, {"call_id": "c0", "start": start, "length": 10_000})) for start in (200, 500)]
    model = Scripted(called(("report", {})), *reads, said("read"))
    result = await Agent(model, tools=[report], limits=Limits(result=300)).run("go")
    assert offered(model) == [["report"], *[["report", READ_RESULT]] * 3]
    truncated, *others = [message for message in result.messages if isinstance(message, ToolMessage)]
    assert truncated.full == TEXT
    assert truncated.content.startswith(TEXT[:200] + "\n\n[6,700 of 7,000 characters are left out here.")
    assert truncated.content.endswith("]\n\n" + TEXT[-100:])
    # A part is never shortened itself.
    assert others == [
        ToolMessage("c0", f"[characters 200 to 500 of 7,000]\n{TEXT[200:500]}"),
        ToolMessage("c0", f"[characters 500 to 800 of 7,000]\n{TEXT[500:800]}"),
    ]
    # It is the same where the conversation goes on.
    model = Scripted(called((READ_RESULT, {"call_id": "c0", "start": 6999})), said("read"))
    history = [*result.messages, UserMessage("And its end?")]
    again = await Agent(model, tools=[report], limits=Limits(result=300)).run(history)
    assert offered(model)[0] == ["report", READ_RESULT]
    assert again.messages[-2] == ToolMessage("c0", "[characters 6,999 to 7,000 of 7,000]\n ")


async def test_results_of_calls_with_one_id_are_told_apart() -> None:
    """Some endpoints count their calls from 0 in each reply."""
    keys = ("c0", "c0#2", "c0#3")
    model = Scripted(
        *[called((name, {})) for name in ("report", "short_report", "report")],
        *[called((READ_RESULT, {"call_id": key, "length": 7, "start": 7})) for key in keys],
        said("read"),
    )
    results = [message.content for message in await results_of(model, [report, short_report], 10)]
    notes = [NOTE.search(text) for text in results[:3]]
    assert tuple(note and note[3] for note in notes) == keys
    parts = [f"[characters 7 to 14 of {size}]\n000001 " for size in ("7,000", "50", "7,000")]
    assert results[3:] == parts


async def test_a_history_that_ends_in_an_open_read() -> None:
    history: list[Message] = [
        UserMessage("go"),
        AssistantMessage(tool_calls=(ToolCall("c0", "report", "{}"),)),
        ToolMessage("c0", truncate(TEXT, 100, "c0") or "", full=TEXT),
        AssistantMessage(tool_calls=(ToolCall("c9", READ_RESULT, json.dumps({"call_id": "c0", "length": 7})),)),
    ]
    result = await Agent(Scripted(said("read")), tools=[report], limits=Limits(result=100)).run(history)
    assert result.messages[4] == ToolMessage("c9", "[characters 0 to 7 of 7,000]\n000000 ")


async def test_limits_of_a_run_and_of_a_tool() -> None:
    long = tool(name="long", max_result=10_000)(lambda: TEXT)
    short = tool(name="short", max_result=30)(lambda: TEXT[:50])
    one, two = await results_of(Scripted(called(("long", {}), ("short", {})), said("read")), [long, short], 100)
    assert one == ToolMessage("c0", TEXT)
    assert two.content.startswith(TEXT[:20] + "\n\n[20 of 50 characters are left out here.")
    model = Scripted(called(("short", {})), called((READ_RESULT, {"call_id": "c0"})), said("read"))
    results = await results_of(model, [short], None)
    assert results[1] == ToolMessage("c0", f"[characters 0 to 50 of 50]\n{TEXT[:50]}")
    model = Scripted(called(("report", {})), said("read"))
    assert await results_of(model, [report], None) == [ToolMessage("c0", TEXT)]
    assert offered(model)[1] == ["report"]


async def test_what_ends_the_run_is_the_output_whole() -> None:
    model = Scripted(called(("report", {})))
    result = await Agent(model, tools=[report], stop_at=report, limits=Limits(result=100)).run("go")
    assert (result.stop, result.output) == ("tool", TEXT)
    assert isinstance(result.messages[-1], ToolMessage)
    assert len(result.messages[-1].content) < 300


async def test_a_tool_of_ones_own_of_that_name_is_kept() -> None:
    def read_result(page: int) -> str:
        return f"page {page}"

    plays = [called(("report", {})), called(("read_result", {"page": 3})), said("read")]
    model = Scripted(*plays)
    assert (await results_of(model, [report, read_result], 100))[1] == ToolMessage("c0", "page 3")
    assert offered(model)[1] == ["report", "read_result"]
    # A policy treats it as any other tool.
    model = Scripted(*plays)
    results = await results_of(model, [report, read_result], 100, tool_choice=only("report"))
    assert (offered(model)[1], results[1].outcome) == (["report"], "refused")


async def test_a_long_result_with_images_and_an_error() -> None:
    def shows() -> list[object]:
        return [TEXT, ImagePart("https://a.b/c.png")]

    def fails() -> None:
        raise ValueError(TEXT)

    model = Scripted(called(("shows", {}), ("fails", {})), said("seen"))
    result = await Agent(model, tools=[shows, fails], limits=Limits(result=100)).run("go")
    one, two, images = result.messages[2:5]
    assert isinstance(one, ToolMessage)
    assert (one.full, one.images) == (TEXT, (ImagePart("https://a.b/c.png"),))
    assert isinstance(two, ToolMessage)
    assert (len(two.content), two.full) == (2000, None)  # errors have a bound of their own
    assert isinstance(images, UserMessage)
    assert fault_in([message.to_dict() for message in result.messages]) is None


READ = called((READ_RESULT, {"call_id": "c0", "start": 66}))
REPORT, BRIEF = called(("report", {})), called(("brief", {}))


@pytest.mark.parametrize(("policy", "plays", "offered", "outcomes"), [
    # A read is a call like any other: where a call must be made, where calls are counted, and where they repeat.
    ("required", [REPORT, READ, BRIEF], [2, 3, 3], ["ok", "ok", "ok"]),
    (budget(2), [REPORT, READ, said("done")], [2, 3, 3], ["ok", "ok"]),
    (no_repeat(2), [REPORT, READ, READ, READ, READ, BRIEF], [2, 3, 3, 3, 2, 2], ["ok", "ok", "ok", "refused", "refused", "ok"]),
    (first("report", then="required"), [REPORT, READ, BRIEF], [2, 3, 3], ["ok", "ok", "ok"]),
    # Whatever else is offered, the note in the result asks for it.
    (only("report", "brief"), [REPORT, READ, BRIEF], [2, 3, 3], ["ok", "ok", "ok"]),
    (first("report", then=only("brief")), [REPORT, READ, BRIEF], [2, 2, 2], ["ok", "ok", "ok"]),
])  # fmt: skip
async def test_under_policies(policy: Any, plays: list[Any], offered: list[int], outcomes: list[str]) -> None:
    model = Scripted(*plays)
    agent = Agent(model, tools=[report, brief], tool_choice=policy, stop_at=brief, limits=Limits(result=100))
    result = await agent.run("go")
    assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == outcomes
    assert [len(request.tools) for request in model.requests] == offered
    assert fault_in([message.to_dict() for message in result.messages]) is None
