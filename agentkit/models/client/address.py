"""Where an endpoint is, and the key that goes with it: as they are given, or from the environment."""

import os
import re
from functools import lru_cache
from typing import NamedTuple

import httpx

from agentkit.core.errors import ConfigurationError
from agentkit.core.http_request import masked_url
from agentkit.core.secrets import Secret

_OPENAI = "https://api.openai.com/v1"


class Address(NamedTuple):
    """Where an endpoint is.

    Attributes:
        url: Where requests go.
        base: The address as it is shown: without the query, which may have a key.
        masked: Where requests go, as that is shown.
        values: What is not to be shown.
    """

    url: httpx.URL
    base: str
    masked: str
    values: tuple[str, ...]


@lru_cache(maxsize=64)
def address_of(address: str) -> Address:
    """Read an address.

    Raises:
        ConfigurationError: If it is no address, or has a password in it.
    """
    if fault := _fault(address):
        raise ConfigurationError(fault)
    url = httpx.URL(address)
    url = url.copy_with(path=url.path.rstrip("/") + "/chat/completions")
    masked = masked_url(str(url.copy_with(fragment=None)))
    return Address(url, address.partition("?")[0].rstrip("/"), masked, tuple(url.params.values()))


def _fault(address: str) -> str | None:
    """Say what is wrong with an address. What is raised here would lead to frames that have all of it."""
    if re.match("(?:[^/?#]*:)?/{0,2}[^/?#]*@", address):
        return "the base URL has a name or a password in it; send them with headers={…}"
    odd = "@" in address  # some of it may be of a password
    shown = repr("…" if odd else address.partition("?")[0])
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        return f"{shown} is not an address" + ("" if odd else f": {error}")
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:  # noqa: PLR2004 (ports)
        return f"{shown} is not an address of the form https://host/v1"
    return None


def sendable(name: str, value: str) -> Secret:
    """Give the value of a header, without blanks around it.

    Raises:
        ConfigurationError: If it cannot be sent.
    """
    value = Secret(value.strip())
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"{name} has a character that a header cannot have, such as a line break")
    return value


def found_address(base_url: str | None, api_key: str | None) -> tuple[str, str]:
    """Find an address and the key that goes with it: a key of OpenAI's goes to the address that was set beside it.

    Raises:
        ConfigurationError: If there is no address.
    """
    if base_url and api_key is not None:
        return base_url, api_key
    ours, theirs = (Secret(os.environ.get(name, "")) for name in ("AGENTKIT_API_KEY", "OPENAI_API_KEY"))
    beside = os.environ.get("OPENAI_BASE_URL") or (_OPENAI if theirs else None)
    found = Secret(base_url or os.environ.get("AGENTKIT_BASE_URL") or beside or "")  # its query may have a key
    if not found:
        raise ConfigurationError(
            "no endpoint: set AGENTKIT_BASE_URL (and AGENTKIT_API_KEY), or give ChatClient(model, base_url=…, "
            'api_key=…). For a small model inside this process, with no key and no server, use Agent("local")'
        )
    if api_key is not None:
        return found, api_key
    return found, ours or (theirs if found == beside or found.startswith(_OPENAI) else Secret())
