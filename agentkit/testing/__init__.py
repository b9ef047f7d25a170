"""What is needed to test agents: a fake endpoint that plays the quirks and faults of real ones."""

from agentkit.testing.chaos import Chaos, chaos
from agentkit.testing.quirks import Quirk, quirk, quirks
from agentkit.testing.replies import (
    Bytewise,
    Cut,
    Raw,
    Repeat,
    Reply,
    Said,
    answer,
    bytewise,
    calling,
    cut,
    refuse,
    status,
)

__all__ = [
    "Bytewise",
    "Chaos",
    "Cut",
    "Quirk",
    "Raw",
    "Repeat",
    "Reply",
    "Said",
    "answer",
    "bytewise",
    "calling",
    "chaos",
    "cut",
    "quirk",
    "quirks",
    "refuse",
    "status",
]
