"""Options that are out of range are refused, with what they can be."""

from math import inf, nan

import pytest

from agentkit.core.checks import check_number, check_one_of, check_seconds
from agentkit.core.errors import ConfigurationError, InvalidRequest

NOT_NUMBERS = ["1", True, nan, inf, -inf, None, [1]]


@pytest.mark.parametrize(("allowed", "bounds", "refused"), [
    ([1, 7], {"least": 1, "whole": True}, [0, 1.5, *NOT_NUMBERS]),
    ([0, 1.5, 10**30], {"least": 0}, [-0.1, *NOT_NUMBERS]),
    ([0.1, 1], {"above": 0, "most": 1}, [0, 1.01, *NOT_NUMBERS]),
    ([-2, 2.0], {"least": -2, "most": 2}, [-2.1, 2.1, *NOT_NUMBERS]),
    ([0.5], {"above": 0}, [0, *NOT_NUMBERS]),
])  # fmt: skip
def test_a_number(allowed: list[object], bounds: dict[str, float], refused: list[object]) -> None:
    for value in allowed:
        check_number("it", value, **bounds)  # type: ignore[arg-type]
    check_number("it", None, optional=True, **bounds)  # type: ignore[arg-type]
    for value in refused:
        with pytest.raises(ConfigurationError, match="it must be"):
            check_number("it", value, **bounds)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        check_number("it", "no", error=InvalidRequest, **bounds)  # type: ignore[arg-type]


def test_seconds() -> None:
    for value in (0.1, 3, inf):
        check_seconds("it", value)
    check_seconds("it", None)
    wrong: list[object] = [0, -1, nan, True, "1", -inf, None]
    for odd in wrong:
        with pytest.raises(ConfigurationError, match="it must be seconds"):
            check_seconds("it", odd, optional=False)


def test_a_word() -> None:
    check_one_of("it", "a", ("a", "b", "c"))
    wrong: list[object] = ["d", None, 1, []]
    for value in wrong:
        with pytest.raises(ConfigurationError, match='it must be "a", "b" or "c"'):
            check_one_of("it", value, ("a", "b", "c"))
