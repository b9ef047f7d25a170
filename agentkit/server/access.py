"""Who may use the server: those with a key or, without keys, those who ask for one of the server's own host names."""

from collections.abc import Collection
from hashlib import sha256
from hmac import compare_digest

from agentkit.core.errors import ConfigurationError
from agentkit.server.asgi import HttpExchange
from agentkit.server.errors import HttpError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""The host names under which only this machine reaches itself."""

_ANY_HOST = "*"


class Access:
    """Checks the API key of each request, or the `Host` header if there are no keys.

    Any web page can send requests to the machine of whoever opens it, and DNS can point the page's own name there (DNS
    rebinding). So without keys, the host name is checked. Of keys, only their digests are kept.
    """

    def __init__(self, keys: str | Collection[str], hosts: Collection[str]) -> None:
        keys = (keys,) if isinstance(keys, str) else tuple(keys)
        if not all(keys):
            raise ConfigurationError("a key must not be empty; leave `keys` out for a server without keys")
        self._digests = [_digest(key) for key in keys]
        self.hosts = frozenset(hosts)

    @property
    def guarded(self) -> bool:
        """Whether a key is needed."""
        return bool(self._digests)

    def check(self, exchange: HttpExchange) -> str:
        """Admit a request, and return the digest of its key; `""` without keys.

        Raises:
            HttpError: 401 without a known key; 403 for another host name.
        """
        if not self.guarded:
            self._check_host(exchange.header("host"))
            return ""
        scheme, _, key = exchange.header("authorization").partition(" ")
        digest = _digest(key.strip())
        matches = [compare_digest(digest, known) for known in self._digests]  # all, so that time tells nothing
        if scheme.lower() != "bearer" or not any(matches):
            text = "the API key is unknown" if key else "an API key is required: Authorization: Bearer …"
            raise HttpError(401, text, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
        return digest

    def _check_host(self, host: str) -> None:
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if _ANY_HOST not in self.hosts and name.lower() not in self.hosts:
            text = (
                f"this server has no keys and does not accept the host {name[:80]!r}; allow it by ChatServer(hosts=…)"
            )
            raise HttpError(403, text, code="host_not_allowed")


def _digest(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
