"""Replies as plain dicts for `agentkit.testing.chaos`, and a check of the histories in its requests."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from agentkit.testing import Chaos, Raw, chaos

Json: TypeAlias = dict[str, Any]
Endpoint: TypeAlias = Chaos
Reply: TypeAlias = Json | Raw | Callable[[Json], "Json | Raw"]

_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_HEAD = {"id": "chatcmpl-1", "model": "m"}


def text(content: str, **more: Any) -> Json:
    return {"message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}


def calls(*named: tuple[str, Any], content: str | None = None, ids: Sequence[str] = ()) -> Json:
    """A reply with tool calls, each a name and arguments: an object, or the text that a model writes."""
    entries = [
        {
            "id": ids[at] if ids else f"call_{name}_{at}",
            "type": "function",
            "function": {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)},
        }
        for at, (name, arguments) in enumerate(named)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": entries}
    return {"message": message, "finish_reason": "tool_calls"}


def body_of(reply: Json) -> Json:
    """The plain body of a reply."""
    choice = {"index": 0, **{key: value for key, value in reply.items() if key != "usage"}}
    usage = reply.get("usage", _USAGE)
    return {**_HEAD, "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}


def stream_of(reply: Json) -> list[bytes]:
    """The same reply as the events of a stream: texts by the word, arguments by three characters."""
    message = reply["message"]
    deltas: list[Json] = [{"role": "assistant", "content": None}]
    words = (message.get("content") or "").split(" ")
    deltas += [{"content": word if at == 0 else f" {word}"} for at, word in enumerate(words) if word or at]
    for at, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "index": at, "function": {**function, "arguments": ""}}]})
        pieces = [function["arguments"][i : i + 3] for i in range(0, len(function["arguments"]), 3)]
        deltas += [{"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in pieces]
    chunks: list[Json] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reply["finish_reason"]}]})
    chunks.append({"choices": [], "usage": body_of(reply)["usage"]})
    events = [b"data: " + json.dumps({**_HEAD, **chunk}).encode() + b"\n\n" for chunk in chunks]
    return [*events, b"data: [DONE]\n\n"]


def fault_in(messages: list[Json]) -> str | None:
    """Return what a strict endpoint refuses in a history: each call needs one result, in order, right after it."""
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if not open_calls or open_calls[0] != message["tool_call_id"]:
                return f"message {at} answers {message['tool_call_id']}, open are {open_calls}"
            open_calls.pop(0)
            continue
        if open_calls:
            return f"message {at} comes before the calls {open_calls} are answered"
        if message["role"] == "assistant":
            open_calls = [call["id"] for call in message.get("tool_calls") or ()]
            if len(set(open_calls)) < len(open_calls):
                return f"message {at} has one id twice: {open_calls}"
    return f"the calls {open_calls} are not answered" if open_calls else None


@dataclass(frozen=True)
class _Played:
    """A reply that `chaos` can play: streamed or plain, as the request asks."""

    reply: Reply

    def raw(self, request: Mapping[str, Any]) -> Raw:
        reply = self.reply(cast("Json", request)) if callable(self.reply) else self.reply
        if isinstance(reply, Raw):
            return reply
        if request.get("stream"):
            return Raw(stream_of(reply), headers={"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        return Raw([json.dumps(body_of(reply)).encode()], headers={"content-type": "application/json"})


@contextmanager
def serving(*replies: Reply) -> Generator[Endpoint]:
    """Serve replies; at the end, no request may have had a history that a strict endpoint would refuse."""
    with chaos(*[_Played(reply) for reply in replies]) as endpoint:
        yield endpoint
    faults = [(number, fault_in(request["messages"])) for number, request in enumerate(endpoint.requests, 1)]
    assert [fault for fault in faults if fault[1] is not None] == []
