"""A request as it goes over HTTP, for people to see: nothing in it is secret."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from shlex import quote

from agentkit.core.json import decode, object_of

_MASK = "…"  # addresses and headers are ASCII, so it is no part of one
_LONGEST_ARGUMENT = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class HttpRequest:
    """A `POST` as a client sends it. Keys, headers of the caller's and the values of a query show as `…`.

    `print(request)` shows all of it. What every HTTP client adds of its own, such as the length, is left out.

    Attributes:
        url: The address.
        headers: The headers, as pairs of a name and a value.
        encode: Makes the body, which is not kept: the same request always gives the same bytes.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    encode: Callable[[], bytes]

    @property
    def body(self) -> bytes:
        """The body, byte by byte."""
        return self.encode()

    @property
    def data(self) -> dict[str, object]:
        """The body, decoded."""
        return object_of(decode(self.body))

    def curl(self) -> str:
        """Give a shell command that sends the same.

        What does not show is a variable in it, to be set before: `AGENTKIT_API_KEY` is the key,
        `AGENTKIT_HEADER_X_TEAM` a header `x-team`, and `AGENTKIT_QUERY_CODE` a field `code` of the query.
        """
        body = self.body
        words = ["curl", "-g", _word(self.url)]
        for name, value in self.headers:
            is_key = name == "authorization" and value.lower().startswith("bearer ")
            words += ["-H", _word(f"{name}: {value}", "API_KEY" if is_key else f"HEADER_{name}")]
        text = quote(body.decode())
        if len(body) > _LONGEST_ARGUMENT:  # no program takes so long an argument; `printf` is the shell's own
            return " ".join(["printf", "%s", text, "|", *words, "--data-binary", "@-"])
        return " ".join([*words, "--data-raw", text])

    def __str__(self) -> str:
        headers = "".join([f"{name}: {value}\n" for name, value in self.headers])
        return f"POST {self.url}\n{headers}\n{json.dumps(self.data, ensure_ascii=False, indent=2)}"

    def __repr__(self) -> str:
        return f"HttpRequest({self.url!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HttpRequest):
            return NotImplemented
        return (self.url, self.headers, self.body) == (other.url, other.headers, other.body)

    def __hash__(self) -> int:
        return hash((self.url, self.headers, self.body))

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by the bytes; what they are made of need not be fit for it."""
        return _stored, (self.url, self.headers, self.body)


def _stored(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> HttpRequest:
    return HttpRequest(url, headers, lambda: body)


def masked_url(url: str) -> str:
    """Give an address as it may be shown: of the query, the names of its fields."""
    address, asked, query = url.partition("?")
    return address + asked + "&".join(map(_masked_field, query.split("&")))


def _masked_field(text: str) -> str:
    name, _, value = text.partition("=")
    if value.strip("="):
        return f"{name}={_MASK}"
    return _MASK if text else ""  # what has no value may be a key


def masked_header(value: str) -> str:
    """Give the value of a header as it may be shown: whether it is a bearer's."""
    scheme, blank, _ = value.partition(" ")
    return f"{scheme} {_MASK}" if blank and scheme.lower() == "bearer" else _MASK


def _word(text: str, name: str = "") -> str:
    """Quote a text for a shell, with a variable for what does not show: of this name, or that of the field."""
    if _MASK not in text:
        return quote(text)

    def variable(found: re.Match[str]) -> str:
        field = found[1] or ""
        return f"{field}$AGENTKIT_{re.sub('[^A-Z0-9]', '_', (name or f'QUERY_{field[:-1]}').upper()).rstrip('_')}"

    escaped = re.sub(r'[\\"$`]', r"\\\g<0>", text)
    return '"' + re.sub(f"([^?&]+=)?{_MASK}", variable, escaped) + '"'
