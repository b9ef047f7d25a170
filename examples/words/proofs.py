"""What policies can do, computed without a run.

Run it: python examples/words/proofs.py
"""

from agentkit import Agent, ConfigurationError, tool
from agentkit.testing import Scripted, assert_that
from agentkit.tool_choice import (
    analyse,
    before_answer,
    budget,
    prerequisite,
    sequence,
)


@tool
def search(query: str) -> str:
    """Search the documents."""
    return f"one document about {query}"


@tool
def verify(claim: str) -> str:
    """Check a claim."""
    return "confirmed"


@tool
def approve(payment: int) -> str:
    """Have a payment approved."""
    return "approved"


@tool
def pay(payment: int) -> str:
    """Make a payment."""
    return "paid"


model = Scripted()

# --8<-- [start:report]
policy = before_answer(verify) & prerequisite(verify, search) & budget(3)
agent = Agent(model, tools=[search, verify], tool_choice=policy)
print(analyse(agent))
# --8<-- [end:report]

# --8<-- [start:sound]
mended = before_answer(verify) & prerequisite(verify, search)
agent = Agent(model, tools=[search, verify], tool_choice=mended)
print(analyse(agent))
# --8<-- [end:sound]

# --8<-- [start:mermaid]
report = analyse(agent)
print(report.graph.mermaid())
# --8<-- [end:mermaid]

# --8<-- [start:refused]
try:
    Agent(
        model,
        tools=[search, verify],
        tool_choice=sequence(search, verify) & prerequisite(search, verify),
    )
except ConfigurationError as error:
    print(error)
# --8<-- [end:refused]

# --8<-- [start:proof]
guarded = prerequisite(pay, approve) & budget(4)
agent = Agent(model, tools=[approve, pay], tool_choice=guarded)
assert_that(agent).never(pay).before(approve)
assert_that(agent).every_tool_reachable().always_answers(within=4)
# --8<-- [end:proof]

# --8<-- [start:counter]
agent = Agent(model, tools=[approve, pay], tool_choice=sequence(approve, pay))
try:
    assert_that(agent).never(approve).after(pay)
except AssertionError as error:
    print(error)
# --8<-- [end:counter]
