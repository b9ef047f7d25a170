from dataclasses import fields

import pytest

from agentkit import ConfigurationError
from agentkit.server import Bounds


@pytest.mark.parametrize("name", [each.name for each in fields(Bounds)])
@pytest.mark.parametrize("value", [0, -1, "3", None, True])
def test_every_bound_is_above_nothing(name: str, value: object) -> None:
    given: dict[str, object] = {name: value}
    with pytest.raises(ConfigurationError, match=name):
        Bounds(**given)  # type: ignore[arg-type]


def test_whole_numbers_are_whole() -> None:
    with pytest.raises(ConfigurationError, match=r"Bounds\(body=…\) is a whole number above 0, not 1\.5"):
        Bounds(body=1.5)  # type: ignore[arg-type]
    assert Bounds(seconds=0.5).seconds == 0.5
