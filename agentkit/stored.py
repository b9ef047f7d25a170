"""Messages as they are stored: the wire's own JSON, which every program knows, and all that the wire would lose."""

import json
from collections.abc import Iterable
from typing import cast

from agentkit._json import decode, list_of, object_of
from agentkit.errors import InvalidRequest
from agentkit.exact import REST, rest_of
from agentkit.history import message_of
from agentkit.messages import Message


def stored(message: Message) -> dict[str, object]:
    """Give a message as a plain dict that is read back as exactly this message.

    The dict is what an endpoint would be sent. Where that loses something, such as how a call ended, the whole of a
    shortened result, or arguments that are no JSON, the key `agentkit` has it. `Agent.run` takes such dicts as it takes
    others; take the key out before you send one yourself.

    Args:
        message: The message.

    Returns:
        Texts, numbers, lists and dicts: any JSON library can write them.

    Raises:
        InvalidRequest: If `extra` has what JSON cannot say.
    """
    wire = object_of(decode(message.encoded))
    try:
        read = message_of(wire, "the message")
    except InvalidRequest:
        read = None
    rest = rest_of(message, read)
    return wire | {REST: rest} if rest else wire


def dumps(messages: Iterable[Message]) -> str:
    """Write messages as one JSON array.

    Args:
        messages: A history, such as `result.messages`.

    Raises:
        InvalidRequest: If `extra` has what JSON cannot say.
    """
    return json_of([stored(each) for each in messages])


def loads(text: str | bytes) -> tuple[Message, ...]:
    """Read messages that `dumps` wrote, exactly as they were, or any JSON array of messages as the wire has them.

    Args:
        text: The array.

    Raises:
        InvalidRequest: If it is none; the text says where and why.
    """
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the history is not JSON: {error}") from error
    if not isinstance(data, list):
        raise InvalidRequest(f"the history must be a JSON array, not {type(data).__name__}")
    return tuple([message_of(each, f"messages[{at}]") for at, each in enumerate(list_of(cast("object", data)))])


def json_of(value: object) -> str:
    """Write what `stored` gave, in one line.

    Raises:
        InvalidRequest: If it is nested too deep.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise InvalidRequest("extra is nested too deep to be stored") from error
