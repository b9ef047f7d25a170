"""How long a request may take."""

from dataclasses import fields
from math import isnan

from agentkit._frozen import frozen
from agentkit.errors import ConfigurationError


@frozen
class Timeouts:
    """Seconds for one request; `None` is no limit. A run as a whole has `Limits(seconds=…)`.

    Attributes:
        connect: Until there is a connection.
        first: Until the first data of the reply; the connection is part of that.
        idle: Between data. Comments, blank lines and other signs of life are no data.
        total: For the whole request; nothing prolongs it.
    """

    connect: float | None = 10.0
    first: float | None = None
    idle: float | None = 120.0
    total: float | None = 600.0

    def __post_init__(self) -> None:
        for each in fields(self):
            check_seconds(f"Timeouts({each.name}=…)", getattr(self, each.name))

    @classmethod
    def of(cls, value: "float | Timeouts | None") -> "Timeouts":
        """Read a timeout: a number is the total."""
        if isinstance(value, cls):
            return value
        check_seconds("timeout", value)
        return cls(total=value)  # type: ignore[arg-type]


def check_seconds(what: str, value: object) -> None:
    """Hold a time against what it can be.

    Args:
        what: What the error calls it.
        value: Seconds above 0, or `None` for no limit.

    Raises:
        ConfigurationError: If it is anything else.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or isnan(value) or value <= 0:
        raise ConfigurationError(f"{what} must be seconds above 0, or None for no limit, not {value!r}")
