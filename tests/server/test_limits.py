from dataclasses import fields

import pytest

from agentkit import ConfigurationError
from agentkit.server import Bounds

CASES = [
    (field.name, value)
    for field in fields(Bounds)
    for value in (0, -1, "3", None, True)
    if (field.name, value) != ("connections", None)
]


def test_every_bound_is_above_nothing() -> None:
    for name, value in [*CASES, ("body", 1.5)]:
        options: dict[str, object] = {name: value}
        with pytest.raises(ConfigurationError, match=name):
            Bounds(**options)  # type: ignore[arg-type]
