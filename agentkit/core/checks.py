"""Range checks for options. Each error names the option, says what it can be, and shows the value."""

from collections.abc import Callable, Collection
from math import inf

from agentkit.core.errors import AgentkitError, ConfigurationError


def check_number(  # noqa: PLR0913 (all but two are keywords that most callers leave out)
    what: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    whole: bool = False,
    optional: bool = False,
    error: Callable[[str], AgentkitError] = ConfigurationError,
) -> None:
    """Check that a value is a number in a range, not NaN or infinite. It may equal `least` or `most`, not `above`."""
    if _in_range(value, least, above, most, whole=whole) or (optional and value is None):
        return
    if above is not None:
        bounds = f" above {above}" + ("" if most is None else f" and at most {most}")
    else:
        bounds = f" of at least {least}" if most is None else f" from {least} to {most}"
    none = ", or None" if optional else ""
    raise error(f"{what} must be a {'whole ' if whole else ''}number{bounds}{none}, not {value!r}")


def _in_range(value: object, least: float | None, above: float | None, most: float | None, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    if (least is not None and value < least) or (above is not None and value <= above):
        return False
    return value < inf and (most is None or value <= most)


def check_seconds(what: str, value: object, *, optional: bool = True) -> None:
    """Check that a value is a number of seconds above 0, which may be infinite; with `optional` it may be `None`."""
    if value == inf or _in_range(value, None, 0, None, whole=False) or (optional and value is None):
        return
    none = ", or None for no limit" if optional else ""
    raise ConfigurationError(f"{what} must be seconds above 0{none}, not {value!r}")


def check_one_of(what: str, value: object, options: Collection[str]) -> None:
    """Check that a value is one of several words."""
    if value not in options:
        *others, last = [f'"{option}"' for option in options]
        raise ConfigurationError(f"{what} must be {', '.join(others)} or {last}, not {value!r}")
