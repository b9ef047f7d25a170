"""The limits of a server."""

from dataclasses import dataclass, fields

from agentkit.core.checks import check_number, check_seconds

_SECONDS = ("seconds", "head", "upload", "grace", "alive", "kept_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of a server.

    Attributes:
        body: The largest request, in bytes.
        values: How many JSON values, and keys, a request may have. Decoded, each takes up to about 100 bytes of memory.
        requests: How many requests may run at once; one more gets a 429.
        connections: How many connections `serve` keeps open, by default twice as many as `requests`. Each address has
            at most half of them, except this machine's own, where a proxy may be.
        choices: The largest `n`. Each choice is a run of its own.
        messages: How many messages a conversation may have; each tool call and content block counts as one more.
        tools: How many tools a client may bring.
        seconds: The longest run, in seconds; the agent's own limit holds if it is shorter.
        head: Seconds within which the headers of a request must be complete; `serve` closes the connection then.
        upload: Seconds within which a request must be complete.
        grace: Seconds that running requests have to end when the server stops.
        alive: Seconds of silence after which a stream sends a comment, so that proxies keep it open.
        kept: How many replies with calls for the client are remembered, each with the steps before it.
        kept_bytes: The bytes of those together.
        kept_seconds: How long each is remembered.

    Raises:
        ConfigurationError: If one is out of range.
    """

    body: int = 10_000_000
    values: int = 250_000
    requests: int = 64
    connections: int | None = None
    choices: int = 8
    messages: int = 5_000
    tools: int = 128
    seconds: float = 600.0
    head: float = 10.0
    upload: float = 30.0
    grace: float = 30.0
    alive: float = 15.0
    kept: int = 1_000
    kept_bytes: int = 64_000_000
    kept_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            option, value = f"Bounds({field.name}=…)", getattr(self, field.name)
            if field.name in _SECONDS:
                check_seconds(option, value, optional=False)
            else:
                check_number(option, value, least=1, whole=True, optional=field.name == "connections")
