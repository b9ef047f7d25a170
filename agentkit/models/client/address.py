"""The address of an endpoint and the key that goes with it, passed in or from environment variables."""

import os
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from agentkit.core.errors import ConfigurationError
from agentkit.core.http_request import masked_url
from agentkit.core.secrets import Secret
from agentkit.models.client.connections import Origin

_OPENAI = "https://api.openai.com/v1"
_REQUESTS = "/chat/completions"
_STAYS = "%/:@!$&'()*+,;=~"
"""What a path may hold besides letters and digits; what is escaped already stays so."""


class Address(NamedTuple):
    """The parsed address of an endpoint."""

    url: Secret  # that requests go to
    origin: Origin
    host: str  # the header of that name
    target: Secret  # the path and the query
    base: str  # the base URL without its query, which may hold a key
    masked: str  # the request URL with the query's values masked
    secrets: tuple[str, ...]  # the values of the query


@lru_cache(maxsize=64)
def parse_address(base_url: str) -> Address:
    """Parse a base URL; raise `ConfigurationError` if it is not an HTTP address, or holds a password."""
    if fault := _address_fault(base_url):
        raise ConfigurationError(fault)
    url = urlsplit(base_url)
    name, usual = _ascii_name(url.hostname or ""), 443 if url.scheme == "https" else 80
    port = url.port or usual
    host = (f"[{name}]" if ":" in name else name) + (f":{port}" if port != usual else "")
    # The whole URL of requests is accepted too: documentation often shows that one.
    path = url.path.rstrip("/").removesuffix(_REQUESTS).rstrip("/") + _REQUESTS
    target = quote(path, safe=_STAYS) + (f"?{quote(url.query, safe=_STAYS + '?')}" if url.query else "")
    return Address(
        url=Secret(f"{url.scheme}://{host}{target}"),
        origin=Origin(url.scheme, name, port),
        host=host,
        target=Secret(target),
        base=base_url.partition("?")[0].rstrip("/").removesuffix(_REQUESTS).rstrip("/"),
        masked=masked_url(f"{url.scheme}://{host}{target}"),
        secrets=tuple([value for _, value in parse_qsl(url.query)]),
    )


def _address_fault(base_url: str) -> str | None:
    """Return what is wrong with an address. An error raised here would lead to frames that hold all of it."""
    if re.match("(?:[^/?#]*:)?/{0,2}[^/?#]*@", base_url):
        return "the base URL contains a user name or a password; send credentials with headers={…}"
    try:
        url = urlsplit(base_url)
        port = 80 if url.port is None else url.port
        right = url.scheme in ("http", "https") and port > 0 and _ascii_name(url.hostname or "")
    except ValueError:
        right = ""
    if right and base_url.isprintable():
        return None
    # Part of it may be a password. `str` of what has none: a secret hides itself in `repr`.
    shown = "…" if "@" in base_url else str(base_url.partition("?")[0])
    return f"{shown!r} is not an address of the form https://host/v1"


def _ascii_name(host: str) -> str:
    """Return the name of a host as it is looked up; raise `ValueError` if it is none."""
    if not host.isascii():
        import httpx  # noqa: PLC0415 (httpx takes long to import)

        try:
            return httpx.URL(f"http://{host}").raw_host.decode()
        except httpx.InvalidURL:
            raise ValueError from None
    if not re.fullmatch(r"[\w.-]+|[\da-f:.]+(%[\w.-]+)?", host):
        raise ValueError
    return host


def header_value(name: str, value: str) -> Secret:
    """Return a header's value without blanks around it; raise `ConfigurationError` for characters it cannot have."""
    value = Secret(value.strip())
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"{name} has a character that a header cannot have, such as a line break")
    return value


def find_endpoint(base_url: str | None, api_key: str | None) -> tuple[str, str]:
    """Return the base URL and the key; what is not passed comes from the environment.

    `OPENAI_API_KEY` is only ever used with the address in `OPENAI_BASE_URL` or with OpenAI's own.
    """
    if base_url and api_key is not None:
        return base_url, api_key
    our_key, openai_key = (Secret(os.environ.get(name, "")) for name in ("AGENTKIT_API_KEY", "OPENAI_API_KEY"))
    openai_url = os.environ.get("OPENAI_BASE_URL") or (_OPENAI if openai_key else None)
    url = Secret(base_url or os.environ.get("AGENTKIT_BASE_URL") or openai_url or "")  # its query may hold a key
    if not url:
        raise ConfigurationError(
            "no endpoint: set AGENTKIT_BASE_URL (and AGENTKIT_API_KEY), or pass ChatClient(model, base_url=…, "
            'api_key=…). For a small model inside this process, with no key and no server, use Agent("local")'
        )
    if api_key is not None:
        return url, api_key
    return url, our_key or (openai_key if url == openai_url or url.startswith(_OPENAI) else Secret())
