"""What real endpoints do that the protocol does not say, as data.

Each quirk was seen at a real endpoint. Those of the kinds `stream`, `json`, `args` and `http` are replies: `chaos` can
play them. Those of the kinds `schema` and `history` are requests that an endpoint refuses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

from agentkit.core.errors import ConfigurationError
from agentkit.testing.replies import Json, Raw, Repeat, Then

Kind: TypeAlias = Literal["stream", "json", "args", "http", "schema", "history"]


@dataclass(frozen=True, slots=True)
class Quirk:
    """One deviation of a real endpoint.

    Attributes:
        id: Its id, such as `"S08"`.
        title: What the endpoint does.
        kind: What it is about: a stream, a plain body, the arguments of a call, HTTP; or, of requests, a schema or the
            history.
        right: What a client should do.
        sources: Where it was seen.
        variant: Which form of it this is; `""` for the first.
        writes: The body that is sent, cut as it was.
        status: The HTTP status; `None` for no byte at all.
        headers: The headers.
        then: How it goes on after the last byte.
        pause: Seconds before each write.
        expect: What must come of it, for a client that does right:
            `calls`: the calls that are run, in order, each its name and, if they matter, its arguments;
            `text`: the answer;
            `tool_error`: how many calls are answered with an error;
            `error`: the kind of error that the run ends with, `"any"` for any of the library's own;
            `retry`: whether the request is sent again: `"ok"`, and the next reply is taken; `"none"`; `"bounded"`, a
            few times; `"after>=…"`, not before that many seconds;
            `retry_after`: the seconds that the error tells;
            `usage`: the total of tokens that is reported;
            `hidden`: what no error may show;
            `any`: expectations of which one is enough.
        sends: Of requests: what is sent.
        refused: Of requests: what comes of it.
        rule: Of requests: by whose rules a fake of the provider refuses it, if it can be told from one request.
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
        """Its id, with the variant."""
        return f"{self.id}-{self.variant}" if self.variant else self.id

    @property
    def is_reply(self) -> bool:
        """Whether an endpoint can play it."""
        return self.kind not in ("schema", "history")

    def raw(self, request: Json) -> Raw:  # noqa: ARG002 (a quirk is the same whatever was asked)
        """Give it as a reply, byte by byte.

        Raises:
            ConfigurationError: If it is about requests.
        """
        if not self.is_reply:
            raise ConfigurationError(f"{self.name} is about requests, and not a reply that could be played")
        return Raw(self.writes, self.status, self.headers, self.then, self.pause)


@lru_cache(maxsize=1)
def quirks() -> tuple[Quirk, ...]:
    """Give all quirks, each followed by its variants."""
    data = json.loads((files("agentkit.testing") / "quirks.json").read_text("utf-8"))
    found: list[Quirk] = []
    for entry in data:
        variants: dict[str, dict[str, Any]] = {"": {}, **entry.pop("variants", {})}
        found += [_quirk(entry | more, variant) for variant, more in variants.items()]
    return tuple(found)


def quirk(name: str) -> Quirk:
    """Give one quirk.

    Args:
        name: Its id, such as `"S08"`, or its id and variant, such as `"S12-negative"`.

    Raises:
        ConfigurationError: If there is none.
    """
    for each in quirks():
        if each.name == name:
            return each
    raise ConfigurationError(f"there is no quirk {name!r}; quirks() has them all")


def _quirk(entry: Mapping[str, Any], variant: str) -> Quirk:
    writes = tuple([_write(each) for each in entry.get("writes", ())])
    then: Then = entry.get("then", "end")
    headers: dict[str, str] = {"stream": _streamed(then), "json": _JSON, "args": _JSON}.get(entry["kind"], {})
    given: dict[str, Any] = {"headers": headers}
    given |= {key: value for key, value in entry.items() if key not in ("writes", "sources")}
    return Quirk(**given, variant=variant, writes=writes, sources=tuple(entry["sources"]))


def _write(written: str | Mapping[str, Any]) -> bytes | Repeat:
    if isinstance(written, str):
        return written.encode()
    return Repeat(written["repeat"].encode(), written.get("times"))


_JSON = {"content-type": "application/json"}


def _streamed(then: Then) -> dict[str, str]:
    """Give the headers of a stream; the body of one that is closed without an error lasts until then."""
    framing = {} if then == "close" else {"transfer-encoding": "chunked"}
    return {"content-type": "text/event-stream", **framing}
