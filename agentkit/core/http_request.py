"""An HTTP request, for people to look at: secrets in it are masked."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from shlex import quote

from agentkit.core.json import decode, object_of
from agentkit.core.printable import PROSE, printable

_MASK = "…"  # addresses and headers are ASCII, so it is no part of one
_LONGEST_ARGUMENT = 100_000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HttpRequest:
    """A `POST` as a client sends it. Keys, the caller's own headers and the values of a query are masked as `…`.

    `print(request)` shows all of it. Headers that every HTTP client adds, such as the length, are left out.

    Attributes:
        url: The address.
        headers: The headers, as pairs of a name and a value.
        encode: Encodes the body, which is not kept: the same request always gives the same bytes.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    encode: Callable[[], bytes]

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        return self.encode()

    @property
    def data(self) -> dict[str, object]:
        """The body, decoded."""
        return object_of(decode(self.body))

    def curl(self) -> str:
        """Return a shell command that sends the same request.

        It has variables for what is masked: `AGENTKIT_API_KEY` for the key, `AGENTKIT_HEADER_X_TEAM` for a header
        `x-team`, and `AGENTKIT_QUERY_CODE` for a field `code` of the query. Set them first.

        Characters of the body that a terminal obeys are JSON escapes: the same values in other bytes.
        """
        body = printable(self.body.decode())
        words = ["curl", "-g", _shell_word(self.url)]
        for name, value in self.headers:
            is_key = name == "authorization" and value.lower().startswith("bearer ")
            words += ["-H", _shell_word(f"{name}: {value}", "API_KEY" if is_key else f"HEADER_{name}")]
        text = quote(body)
        if len(body) > _LONGEST_ARGUMENT:  # too long for an argument of a program; `printf` is built into the shell
            return " ".join(["printf", "%s", text, "|", *words, "--data-binary", "@-"])
        return " ".join([*words, "--data-raw", text])

    def __str__(self) -> str:
        headers = "".join([f"{name}: {value}\n" for name, value in self.headers])
        return f"POST {self.url}\n{headers}\n{printable(json.dumps(self.data, ensure_ascii=False, indent=2), PROSE)}"

    def __repr__(self) -> str:
        return f"HttpRequest({self.url!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HttpRequest):
            return NotImplemented
        return (self.url, self.headers, self.body) == (other.url, other.headers, other.body)

    def __hash__(self) -> int:
        return hash((self.url, self.headers, self.body))

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle with the bytes of the body, because `encode` may not be picklable."""
        return _with_body, (self.url, self.headers, self.body)


def _with_body(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> HttpRequest:
    return HttpRequest(url, headers, lambda: body)


def masked_url(url: str) -> str:
    """Return an address without the values of its query."""
    address, asked, query = url.partition("?")
    return address + asked + "&".join(map(_masked_field, query.split("&")))


def _masked_field(text: str) -> str:
    name, _, value = text.partition("=")
    if value.strip("="):
        return f"{name}={_MASK}"
    return _MASK if text else ""  # a name without a value may be a key


def masked_header(value: str) -> str:
    """Return the mask for a header's value; it shows whether the value is a bearer token."""
    scheme, blank, _ = value.partition(" ")
    return f"{scheme} {_MASK}" if blank and scheme.lower() == "bearer" else _MASK


def _shell_word(text: str, name: str = "") -> str:
    """Quote a string for a shell, with a variable per mask: with this name, or that of the query's field."""
    if _MASK not in text:
        return quote(text)

    def variable(mask: re.Match[str]) -> str:
        field = mask[1] or ""
        return f"{field}$AGENTKIT_{re.sub('[^A-Z0-9]', '_', (name or f'QUERY_{field[:-1]}').upper()).rstrip('_')}"

    escaped = re.sub(r'[\\"$`]', r"\\\g<0>", text)
    return '"' + re.sub(f"([^?&]+=)?{_MASK}", variable, escaped) + '"'
