"""What the tests of agents share."""

from collections.abc import Iterable
from typing import Any

import pytest

from agentkit import Message, ToolMessage

BOTH_BACKENDS = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
"""For tests of concurrency and cancellation; the others run under asyncio only."""


def tool_messages(messages: Iterable[Message]) -> list[ToolMessage]:
    return [message for message in messages if isinstance(message, ToolMessage)]


def about(number: float) -> Any:
    return pytest.approx(number)
