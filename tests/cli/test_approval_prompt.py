import io
from collections.abc import Generator
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any, cast

import anyio
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from agentkit import Decision, ToolCall, approve, deny
from agentkit.cli.approval_prompt import ReadLine, approval_prompt, line_reader
from agentkit.cli.live_view import console_for

CALL = ToolCall("1", "f", '{"a": 1}')


def typing(*lines: str | type[BaseException]) -> tuple[ReadLine, list[tuple[str, str]]]:
    """What a person types, and what they were asked."""
    asked: list[tuple[str, str]] = []
    left = iter(lines)

    async def read(question: str, default: str) -> str:
        await anyio.lowlevel.checkpoint()
        asked.append((question, default))
        if isinstance(line := next(left), str):
            return line
        raise line

    return read, asked


async def decided(read: ReadLine, err: io.StringIO | None = None, call: ToolCall = CALL) -> Decision | None:
    decision = approval_prompt(console_for(err or io.StringIO()), read)(call)
    assert isawaitable(decision)
    return cast("Decision | None", await decision)


@pytest.mark.anyio
@pytest.mark.parametrize(("lines", "decision"), [
    (["y"], approve(CALL)), ([" Yes "], approve(CALL)), (["n"], deny(CALL)),
    (["no  too dear "], deny(CALL, "too dear")), (["", "what?", "y but", "edit it", "yep", "yes!", "yy", "ok", "true", "y"], approve(CALL)),
    (["e", "{", "[1]", '{"a": 2}'], approve(CALL, {"a": 2})),
    (["e", '{"a": 1}', "n"], deny(CALL)), (["e", " ", "y"], approve(CALL)), ([KeyboardInterrupt], None),
    (["e", EOFError], None),
])  # fmt: skip
async def test_a_person_decides(lines: list[str | type[BaseException]], decision: Decision | None) -> None:
    read, asked = typing(*lines)
    assert await decided(read) == decision
    assert len(asked) == len(lines)


@pytest.mark.anyio
async def test_all_of_the_call_is_shown_and_what_was_typed_can_be_mended() -> None:
    err = io.StringIO()
    read, asked = typing("?", "e", "{", '{"a": 2}')
    call = ToolCall("1", "f", f'{{"a": "{"x" * 300}\\u001b"}}')
    await decided(read, err, call)
    question, _, help_text = err.getvalue().partition("\ny or yes, alone, runs it")
    assert question.replace("\n    ", "") == f'? Run f(a="{"x" * 300}\\u001b")?'
    assert help_text
    assert "not valid JSON: " in err.getvalue()
    assert asked == [("[y/n/e/?] ", ""), ("[y/n/e/?] ", ""), ("arguments: ", call.arguments), ("arguments: ", "{")]


@pytest.mark.anyio
async def test_questions_come_one_at_a_time() -> None:
    read, asked = typing("e", '{"a": 2}', "e", '{"a": 2}')
    approver: Any = approval_prompt(console_for(io.StringIO()), read)
    async with anyio.create_task_group() as group:
        group.start_soon(approver, CALL)
        group.start_soon(approver, CALL)
    assert [question for question, _ in asked] == ["[y/n/e/?] ", "arguments: "] * 2


@pytest.mark.anyio
async def test_the_help_is_whole_at_80_columns_and_nothing_is_shown_beside_the_question() -> None:
    err, held = io.StringIO(), list[bool]()

    @contextmanager
    def hold() -> Generator[None]:
        held.append(True)
        yield
        held.append(False)

    read, _ = typing("?", "y")
    console = Console(file=err, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    asked = approval_prompt(console, read, hold)(CALL)
    assert isawaitable(asked)
    assert await asked == approve(CALL)
    assert held == [True, False]
    lines = err.getvalue().splitlines()
    assert "…" not in err.getvalue()
    assert max(len(line) for line in lines) < 80
    assert lines[-1].endswith("leaves it pending")


def test_a_line_is_read_at_the_terminal() -> None:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text(" more\r")
        assert anyio.run(line_reader(), "arguments: ", "some") == "some more"
