"""Who may ask."""

from collections.abc import Collection
from hashlib import sha256
from hmac import compare_digest

from agentkit.core.errors import ConfigurationError
from agentkit.server.asgi import Exchange
from agentkit.server.errors import Refusal

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""The names that a machine has for itself."""

ANY = "*"
"""Stands for any name."""


class Access:
    """Lets those in that have a key. Without keys, everyone who asks under one of the server's names.

    A web page that someone opens can send requests to their own machine, and a name of its own can be made to lead
    there; so without keys the name is looked at.

    Args:
        keys: The keys. Only their digests are held.
        hosts: The names, for a server without keys.

    Raises:
        ConfigurationError: If a key is empty.
    """

    def __init__(self, keys: str | Collection[str], hosts: Collection[str]) -> None:
        several = (keys,) if isinstance(keys, str) else tuple(keys)
        if not all(several):
            raise ConfigurationError("a key must not be empty; without keys, leave them out")
        self._digests = [_digest(each) for each in several]
        self._hosts = frozenset(hosts)

    @property
    def guarded(self) -> bool:
        """Whether there are keys."""
        return bool(self._digests)

    @property
    def hosts(self) -> frozenset[str]:
        """The names that it goes by."""
        return self._hosts

    def check(self, exchange: Exchange) -> str:
        """Let a request in.

        Returns:
            What stands for its key.

        Raises:
            Refusal: If it has no key that is good here.
        """
        if not self.guarded:
            self._check_host(exchange.header("host"))
            return ""
        scheme, _, key = exchange.header("authorization").partition(" ")
        given = _digest(key.strip())
        matches = [compare_digest(given, each) for each in self._digests]  # each, whichever it is
        if scheme.lower() != "bearer" or not any(matches):
            said = "the key is not known here" if key else "a key is needed: Authorization: Bearer …"
            raise Refusal(401, said, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
        return given

    def _check_host(self, host: str) -> None:
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if ANY not in self._hosts and name.lower() not in self._hosts:
            said = f"this server has no keys, and does not go by the name {name[:80]!r}; ChatServer(hosts=…) has those"
            raise Refusal(403, said, code="host_not_allowed")


def _digest(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
