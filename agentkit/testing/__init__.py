"""Test agents: models without a network, cassettes, a fake endpoint, assertions on runs, and a linter for tools.

`models`, `every_tool` and `flaky` are models in this process. `cassettes` records real models. `chaos` is a fake
endpoint; it plays `replies` and `quirks`. `assertions` checks what a run did, `proofs` what any
run may do. `lint` checks tools,
`contracts` policies.

May import `agent` and every room below it. A new fault of an endpoint goes to `replies`, a rule for tools to `lint`.
"""

from agentkit.testing.assertions import Call, Called, Story, assert_that, calls_of
from agentkit.testing.cassettes import Cassette
from agentkit.testing.chaos import Chaos, chaos
from agentkit.testing.contracts import policy_contract
from agentkit.testing.every_tool import EveryTool
from agentkit.testing.flaky import Flaky
from agentkit.testing.lint import Finding, lint, tokens_of
from agentkit.testing.models import FunctionModel, Scripted, UnexpectedRequest
from agentkit.testing.proofs import Never, Proof
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
    "Finding",
    "Flaky",
    "FunctionModel",
    "Never",
    "Proof",
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
    "lint",
    "policy_contract",
    "quirk",
    "quirks",
    "refuse",
    "sample",
    "status",
    "tokens_of",
]
