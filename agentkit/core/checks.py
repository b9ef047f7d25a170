"""Checks of options: what is out of range is refused where it is given, with what it can be."""

from math import isnan

from agentkit.core.errors import ConfigurationError


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
