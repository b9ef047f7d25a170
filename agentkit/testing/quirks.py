"""Deviations of real endpoints from the protocol, as data.

Each quirk was seen at a real endpoint. The kinds `stream`, `json`, `args` and `http` are replies that `chaos` can play.
The kinds `schema` and `history` are requests that an endpoint refuses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

from agentkit.core.errors import ConfigurationError
from agentkit.testing.replies import Json, Raw, Repeat, Then

_JSON = {"content-type": "application/json"}

Kind: TypeAlias = Literal["stream", "json", "args", "http", "schema", "history"]


@dataclass(frozen=True, slots=True)
class Quirk:
    """One deviation of a real endpoint.

    Attributes:
        id: Its id, such as `"S08"`.
        title: What the endpoint does.
        kind: What it is about: a stream, a plain body, arguments of a call, HTTP; a schema or history in a request.
        right: What a client should do.
        sources: Where it was seen.
        variant: The variant of the quirk; `""` for the first.
        writes: The body; each write is sent by itself.
        status: The HTTP status; `None` to send nothing.
        headers: The headers.
        then: What happens after the last byte.
        pause: Seconds before each write.
        expect: The right outcome:
            `calls`: the calls that run, in order, with the name and, if they matter, the arguments;
            `text`: the answer;
            `tool_error`: the number of calls that get an error as result;
            `error`: the type of the error that ends the run, `"any"` for any `AgentkitError`;
            `retry`: `"ok"` if a retry succeeds, `"none"`, `"bounded"` for a few, `"after>=…"` for the seconds before;
            `retry_after`: the seconds in the error;
            `usage`: the total of tokens;
            `hidden`: a text that no error may contain;
            `any`: alternatives.
        sends: For requests: what is sent.
        refused: For requests: how the endpoint refuses it.
        rule: For requests: the provider whose rule refuses it, if one request shows that.
    """

    id: str
    title: str
    kind: Kind
    right: str
    sources: tuple[str, ...]
    variant: str = ""
    writes: tuple[bytes | Repeat, ...] = ()
    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    then: Then = "end"
    pause: float = 0.0
    expect: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    sends: str = ""
    refused: str = ""
    rule: str = ""

    @property
    def name(self) -> str:
        """The id with the variant, such as `"S12-negative"`."""
        return f"{self.id}-{self.variant}" if self.variant else self.id

    @property
    def is_reply(self) -> bool:
        """Whether an endpoint can play it."""
        return self.kind not in ("schema", "history")

    def raw(self, request: Json) -> Raw:  # noqa: ARG002 (the same for every request)
        """Return the reply.

        Raises:
            ConfigurationError: If the quirk is about requests.
        """
        if not self.is_reply:
            raise ConfigurationError(f"{self.name} is about requests; chaos can play only replies")
        return Raw(self.writes, self.status, self.headers, self.then, self.pause)


@lru_cache(maxsize=1)
def quirks() -> tuple[Quirk, ...]:
    """Return all quirks, each followed by its variants."""
    data = json.loads((files("agentkit.testing") / "quirks.json").read_text("utf-8"))
    every: list[Quirk] = []
    for entry in data:
        variants: dict[str, dict[str, Any]] = {"": {}, **entry.pop("variants", {})}
        every += [_quirk(entry | more, variant) for variant, more in variants.items()]
    return tuple(every)


def quirk(name: str) -> Quirk:
    """Return one quirk.

    Args:
        name: The id, such as `"S08"`, or id and variant, such as `"S12-negative"`.

    Raises:
        ConfigurationError: If there is no such quirk.
    """
    for candidate in quirks():
        if candidate.name == name:
            return candidate
    raise ConfigurationError(f"there is no quirk {name!r}; quirks() lists them")


def _quirk(entry: Mapping[str, Any], variant: str) -> Quirk:
    # If the connection is closed at the end, that ends the body of a stream.
    framing = {} if entry.get("then") == "close" else {"transfer-encoding": "chunked"}
    stream = {"content-type": "text/event-stream", **framing}
    fields: dict[str, Any] = {"headers": {"stream": stream, "json": _JSON, "args": _JSON}.get(entry["kind"], {})}
    fields |= {**entry, "variant": variant, "sources": tuple(entry["sources"])}
    writes = [
        write.encode() if isinstance(write, str) else Repeat(write["repeat"].encode(), write.get("times"))
        for write in entry.get("writes", ())
    ]
    fields["writes"] = tuple(writes)
    return Quirk(**fields)
