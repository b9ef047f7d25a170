"""Results that are too long to be sent: head and tail are, and the rest can be read on request."""

import sys
from collections.abc import Container
from dataclasses import replace
from functools import cache, partial
from itertools import count

from agentkit.core.errors import ToolError
from agentkit.core.messages import Message, ToolMessage
from agentkit.tools.tool import Tool

READ_RESULT = "read_result"
_PART = 10_000
_HEADING = 100


def truncate(text: str, longest: int | None, call_id: str, messages: tuple[Message, ...] = ()) -> str | None:
    """Give the head and the tail of a result, with a note between them; `None` if it is not too long.

    Args:
        text: The result.
        longest: How many characters may be sent; `None` for any number.
        call_id: The id of the call, by which the rest is read.
        messages: The history. Where its answers have that id already, the rest is read by the id and a number.

    Returns:
        A text of about `longest` characters, of which the head has two thirds.
    """
    if longest is None or len(text) <= longest:
        return None
    call_id = _key(call_id, _results(messages))
    head = longest * 2 // 3
    tail = longest - head
    return (
        f"{text[:head]}\n\n[{len(text) - longest:,} of {len(text):,} characters are left out here. "
        f"To read them: {READ_RESULT}(call_id={call_id!r}, start={head})]\n\n{text[len(text) - tail :]}"
    )


def _results(messages: tuple[Message, ...]) -> dict[str, str]:
    """Give the whole of each result that was shortened, by the id in its note."""
    results: dict[str, str] = {}
    for each in messages:
        if isinstance(each, ToolMessage) and each.full is not None:
            results[_key(each.tool_call_id, results)] = each.full
    return results


def _key(call_id: str, taken: Container[str]) -> str:
    """Number an id from the second time on: some endpoints begin anew with every reply."""
    numbered = (f"{call_id}#{number}" for number in count(2))
    return call_id if call_id not in taken else next(each for each in numbered if each not in taken)


def is_result_reader(tool: Tool | None) -> bool:
    """Tell whether a tool is the one that reads what was left out, and not one of a user's that has its name."""
    return tool is not None and getattr(tool.function, "func", None) is _read_result


def result_reader(messages: tuple[Message, ...], longest: int | None) -> Tool:
    """Make the tool that reads what was left out.

    Args:
        messages: The history, whose answers have the whole results.
        longest: How many characters of a result may be sent; `None` for any number. No part has more, so that none is
            shortened itself.
    """
    most, made = longest or sys.maxsize, _reader()
    options = replace(made.options, max_result=most + _HEADING)
    return replace(made, function=partial(_read_result, _results(messages), most), options=options)


@cache
def _reader() -> Tool:
    """Make the tool once; it is wanted anew in every step, with the results until then."""
    return Tool.of(partial(_read_result, {}, 0), name=READ_RESULT)


def _read_result(_whole: dict[str, str], _most: int, call_id: str, start: int = 0, length: int = _PART) -> str:
    """Read a part of a result that was too long to be shown whole.

    Args:
        call_id: The id in the note where the result was shortened.
        start: The first character to read, from 0.
        length: How many characters to read.
    """
    text = _whole.get(call_id)
    if text is None:
        raise ToolError(f"There is no shortened result {call_id!r}; there are: {', '.join(_whole)}")
    start = max(0, start)
    part = text[start : start + min(max(1, length), _most)]
    return f"[characters {start:,} to {start + len(part):,} of {len(text):,}]\n{part}"
