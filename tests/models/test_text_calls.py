import json
from typing import Any

import pytest

from agentkit import Agent, AssistantMessage, ChatRequest, TextToolCalls, Toolbox, ToolCall, UserMessage
from tests.clients import ASYNCIO
from tests.models.test_prompted import Piecemeal
from tests.scripted import Scripted, said

pytestmark = [pytest.mark.anyio, ASYNCIO]


def add(a: int, b: int) -> int:
    return a + b


CALL = '{"name": "add", "arguments": {"a": 1, "b": 2}}'


async def read(text: str, tool_choice: Any = "auto", **options: Any) -> tuple[list[ToolCall], str | None]:
    agent = Agent(TextToolCalls(Scripted(said(text), said("done"))), tools=[add], tool_choice=tool_choice, **options)
    result = await agent.run("go")
    message = result.steps[0].message
    return list(message.tool_calls), message.content


@pytest.mark.parametrize(("text", "content"), [
    (f"<tool_call>{CALL}</tool_call>", None),
    (f"Let me see.\n<tool_call>\n{CALL}\n</tool_call>", "Let me see."),
    (CALL, None),
    (f"</tool_call>{CALL}<tool_call>{CALL}</tool_call>", f"</tool_call>{CALL}"),
    (f"<tool_call> or <tool_call>{CALL}</tool_call>", "<tool_call> or"),
    (f"  {CALL}\n", None),
    (f"```json\n{CALL}\n```", None),
    (f"```\n{CALL}\n```", None),
    ('{"name": "add", "parameters": {"a": 1, "b": 2}}', None),
    ('{"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}', None),
    (json.dumps({"name": "add", "arguments": '{"a": 1, "b": 2}'}), None),
])  # fmt: skip
async def test_unmistakable_calls_are_read(text: str, content: str | None) -> None:
    calls, rest = await read(text)
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("add", {"a": 1, "b": 2})]
    assert rest == content


@pytest.mark.parametrize("text", [
    "It is 3.",
    f"You could call {CALL} for that.",
    f"Like this:\n```json\n{CALL}\n```",
    '{"name": "subtract", "arguments": {}}',
    '<tool_call>{"name": "subtract", "arguments": {}}</tool_call>',
    "<tool_call>{add}</tool_call>",
    "an end </tool_call> without a beginning",
    f"a beginning <tool_call>{CALL} without an end",
    f"```python\n{CALL}\n```",
    f"```json\n{CALL}",
    f"```{CALL}```",
    '{"name": "add"}',
    '{"name": "add", "arguments": [1, 2]}',
    '{"answer": 3}',
    "{",
])  # fmt: skip
async def test_anything_else_is_text(text: str) -> None:
    assert await read(text) == ([], text)


async def test_nothing_is_read_where_no_call_is_allowed_or_where_there_is_one() -> None:
    assert await read(CALL, tool_choice="none") == ([], CALL)
    assert (await Agent(TextToolCalls(Scripted(said(CALL)))).run("go")).output == CALL
    calls, _ = await read(f"<tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>")
    assert len({call.id for call in calls}) == 2
    # A call of its own is left alone.
    call = ToolCall("c0", "add", '{"a":1,"b":2}')
    model = TextToolCalls(Scripted(AssistantMessage(CALL, (call,)), said("done")))
    assert (await Agent(model, tools=[add]).run("go")).steps[0].message == AssistantMessage(CALL, (call,))
    assert repr(model).startswith("TextToolCalls(")
    assert model.name == "scripted"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("text", "streamed"), [
    *[(text, text) for text in ("It is < 3 and <tool is not a mark.", "``quoted``", '{"answer": 3}', "  hello")],
    (f"I see. <tool_call>{CALL}</tool_call>", "I see. "),
    (CALL, ""),
    (f"```json\n{CALL}\n```", ""),
])  # fmt: skip
async def test_a_call_is_not_streamed_as_text(text: str, streamed: str, size: int) -> None:
    chunks: list[str] = []
    request = ChatRequest((UserMessage("go"),), Toolbox([add]).specs)
    await TextToolCalls(Piecemeal(text, size)).complete(request, lambda chunk: chunks.append(chunk.text))
    assert "".join(chunks) == streamed
