"""What is needed to test agents: models in this process, cassettes, a fake endpoint, and assertions on runs."""

from agentkit.testing.assertions import Call, Called, Story, assert_that, calls_of
from agentkit.testing.cassettes import Cassette
from agentkit.testing.chaos import Chaos, chaos
from agentkit.testing.every_tool import EveryTool
from agentkit.testing.flaky import Flaky
from agentkit.testing.models import FunctionModel, Scripted, UnexpectedRequest
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
from agentkit.testing.schema_samples import sample

__all__ = [
    "Bytewise",
    "Call",
    "Called",
    "Cassette",
    "Chaos",
    "Cut",
    "EveryTool",
    "Flaky",
    "FunctionModel",
    "Quirk",
    "Raw",
    "Repeat",
    "Reply",
    "Said",
    "Scripted",
    "Story",
    "UnexpectedRequest",
    "answer",
    "assert_that",
    "bytewise",
    "calling",
    "calls_of",
    "chaos",
    "cut",
    "quirk",
    "quirks",
    "refuse",
    "sample",
    "status",
]
