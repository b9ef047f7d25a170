"""Results that are too long to send: the model receives head and tail, and reads the rest with `read_result`."""

import sys
from collections.abc import Container, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import count

from agentkit.core.errors import ToolError
from agentkit.core.messages import Message, ToolMessage
from agentkit.tools.tool import Tool

READ_RESULT = "read_result"
_PART = 10_000
_HEADING = 100


def truncate(text: str, limit: int | None, call_id: str, messages: Iterable[Message] = ()) -> str | None:
    """Return two thirds of `limit` characters from the head and the rest from the tail, with a note between them.

    The note has the id by which the rest is read: that of the call, with a number if results in `messages` have it
    already. Returns `None` if the text is not too long.
    """
    if limit is None or len(text) <= limit:
        return None
    key = _unused_key(call_id, _truncated_results(messages))
    head = limit * 2 // 3
    tail = limit - head
    return (
        f"{text[:head]}\n\n[{len(text) - limit:,} of {len(text):,} characters are left out here. "
        f"To read them: {READ_RESULT}(call_id={key!r}, start={head})]\n\n{text[len(text) - tail :]}"
    )


def _truncated_results(messages: Iterable[Message]) -> dict[str, str]:
    """Return the whole of each truncated result, by the id in its note."""
    results: dict[str, str] = {}
    for message in messages:
        if isinstance(message, ToolMessage) and message.full is not None:
            results[_unused_key(message.tool_call_id, results)] = message.full
    return results


def _unused_key(call_id: str, taken: Container[str]) -> str:
    """Number an id from the second time on: some endpoints begin again with every reply."""
    numbered = (f"{call_id}#{number}" for number in count(2))
    return call_id if call_id not in taken else next(key for key in numbered if key not in taken)


def is_result_reader(tool: Tool | None) -> bool:
    """Whether a tool is the one made here, and not a user's tool of the same name."""
    return tool is not None and getattr(tool.function, "func", None) is _read_result


def result_reader(messages: Iterable[Message], limit: int | None) -> Tool:
    """Make the tool that reads the truncated results in a history, in parts that are not truncated themselves."""
    most, reader = limit or sys.maxsize, _reader()
    options = replace(reader.options, max_result=most + _HEADING)
    return replace(reader, function=partial(_read_result, messages, most), options=options)


@cache
def _reader() -> Tool:
    # Its schema is read once; every step needs the tool again, with the results so far.
    return Tool.of(partial(_read_result, (), 0), name=READ_RESULT)


def _read_result(_messages: Iterable[Message], _most: int, call_id: str, start: int = 0, length: int = _PART) -> str:
    """Read a part of a result that was too long to be shown whole.

    Args:
        call_id: The id in the note where the result was shortened.
        start: The first character to read, from 0.
        length: How many characters to read.
    """
    results = _truncated_results(_messages)
    text = results.get(call_id)
    if text is None:
        raise ToolError(f"There is no shortened result {call_id!r}; there are: {', '.join(results)}")
    start = max(0, start)
    part = text[start : start + min(max(1, length), _most)]
    return f"[characters {start:,} to {start + len(part):,} of {len(text):,}]\n{part}"
