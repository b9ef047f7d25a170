"""What a server takes at most."""

from dataclasses import dataclass, fields

from agentkit.core.checks import check_number, check_seconds

_SECONDS = ("seconds", "upload", "grace", "alive", "kept_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a server takes at most.

    Attributes:
        body: Bytes of a request.
        requests: How many it answers at once; one more gets a 429.
        choices: The most that `n` may ask for. Each is a run of its own.
        messages: How many messages a conversation may have; each call and each block in them counts as one more.
        tools: How many tools a client may bring.
        seconds: How long a run may take; less, if the agent's own limits say so.
        upload: Seconds in which a request must have come.
        grace: Seconds that running requests have to end when the server stops.
        alive: Seconds without a word after which a stream sends a comment, so that nobody takes it for dead.
        kept: How many hand-overs to clients are remembered, each with the steps before it.
        kept_bytes: How many bytes these may have together.
        kept_seconds: How long one is remembered.
    """

    body: int = 10_000_000
    requests: int = 64
    choices: int = 8
    messages: int = 5_000
    tools: int = 128
    seconds: float = 600.0
    upload: float = 30.0
    grace: float = 30.0
    alive: float = 15.0
    kept: int = 1_000
    kept_bytes: int = 64_000_000
    kept_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for each in fields(self):
            what, value = f"Bounds({each.name}=…)", getattr(self, each.name)
            if each.name in _SECONDS:
                check_seconds(what, value, optional=False)
            else:
                check_number(what, value, least=1, whole=True)
