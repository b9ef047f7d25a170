"""The address of an endpoint and the key that goes with it, passed in or from environment variables."""

import os
import re
from functools import lru_cache
from typing import NamedTuple

from agentkit.core.errors import ConfigurationError
from agentkit.core.http_request import masked_url
from agentkit.core.secrets import Secret
from agentkit.models.client.connections import Origin

_OPENAI = "https://api.openai.com/v1"
_REQUESTS = "/chat/completions"


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
    import httpx  # noqa: PLC0415 (httpx takes long to import)

    if fault := _address_fault(base_url):
        raise ConfigurationError(fault)
    url = httpx.URL(base_url)
    # The whole URL of requests is accepted too: documentation often shows that one.
    path = url.path.rstrip("/").removesuffix(_REQUESTS)
    url = url.copy_with(path=path.rstrip("/") + _REQUESTS)
    return Address(
        url=Secret(url),
        origin=Origin(url.scheme, url.raw_host.decode(), url.port or (443 if url.scheme == "https" else 80)),
        host=url.netloc.decode(),
        target=Secret(url.raw_path.decode()),
        base=base_url.partition("?")[0].rstrip("/").removesuffix(_REQUESTS).rstrip("/"),
        masked=masked_url(str(url.copy_with(fragment=None))),
        secrets=tuple(url.params.values()),
    )


def _address_fault(base_url: str) -> str | None:
    """Return what is wrong with an address. An error raised here would lead to frames that hold all of it."""
    import httpx  # noqa: PLC0415 (httpx takes long to import)

    if re.match("(?:[^/?#]*:)?/{0,2}[^/?#]*@", base_url):
        return "the base URL contains a user name or a password; send credentials with headers={…}"
    hidden = "@" in base_url  # part of it may be a password
    shown = repr("…" if hidden else base_url.partition("?")[0])
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        return f"{shown} is not an address" + ("" if hidden else f": {error}")
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:  # noqa: PLR2004 (ports)
        return f"{shown} is not an address of the form https://host/v1"
    return None


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
