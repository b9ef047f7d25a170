from dataclasses import FrozenInstanceError
from typing import get_args

import pytest

from agentkit import Event, TextDelta


def test_events_are_frozen_values() -> None:
    event = TextDelta("a")
    assert event == TextDelta("a")
    with pytest.raises(FrozenInstanceError):
        event.text = "b"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_every_event_is_documented() -> None:
    assert all(kind.__doc__ for kind in get_args(Event))
