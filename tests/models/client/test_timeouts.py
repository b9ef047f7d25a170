from math import inf, nan
from typing import Any

import pytest

from agentkit.core.checks import check_seconds
from agentkit.core.errors import ConfigurationError
from agentkit.models.client.timeouts import Timeouts


def test_the_defaults() -> None:
    assert Timeouts() == Timeouts(connect=10.0, first_byte=None, idle=120.0, total=600.0)


def test_a_number_is_the_total() -> None:
    assert Timeouts.of(5) == Timeouts(total=5)
    assert Timeouts.of(None) == Timeouts(total=None)
    given = Timeouts(idle=1)
    assert Timeouts.of(given) is given


@pytest.mark.parametrize("odd", [0, -1, -0.5, nan, True, False, "1", [1]])
@pytest.mark.parametrize("name", ["connect", "first_byte", "idle", "total"])
def test_what_is_no_time_is_refused(name: str, odd: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"Timeouts\({name}=…\) must be seconds above 0, or None"):
        Timeouts(**{name: odd})
    with pytest.raises(ConfigurationError, match=r"^timeout must be seconds above 0, or None for no limit, not "):
        Timeouts.of(odd)


@pytest.mark.parametrize("good", [None, 1, 0.001, 1e9, inf])
def test_what_is_a_time(good: float | None) -> None:
    check_seconds("it", good)
