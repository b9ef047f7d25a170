"""Choices and phases, each in a run with a model that plays a script.

Run it: python examples/words/choices.py
"""

from agentkit import Agent, State, tool
from agentkit.testing import Scripted, calling
from agentkit.tool_choice import (
    first,
    force,
    none,
    only,
    sequence,
    until_called,
    when,
)

QUESTION = "Which is larger, Paris or Rome?"
PEOPLE = {"Paris": 2_100_000, "Rome": 2_800_000}

paris = ("search", {"query": "Paris"})
rome = ("search", {"query": "Rome"})
verified = ("verify", {"claim": "Rome is larger."})


@tool
def search(query: str) -> int:
    """Return how many people live in a city."""
    return PEOPLE[query]


@tool
def verify(claim: str) -> str:
    """Check a claim."""
    return "confirmed"


tools = [search, verify]

# --8<-- [start:force]
model = Scripted(calling(paris, rome), "Rome.")
agent = Agent(model, tools=tools, tool_choice=first(force(search)))
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:force]

# --8<-- [start:once]
model = Scripted(calling(paris, rome), calling(rome), "Rome.")
agent = Agent(model, tools=tools, tool_choice=first(force(search, once=True)))
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:once]

# --8<-- [start:ignored]
model = Scripted("Paris, I think.", calling(paris, verified, rome), "Rome.")
agent = Agent(model, tools=tools, tool_choice=first(force(search)))
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:ignored]

# --8<-- [start:first]
model = Scripted(calling(paris), "I only know about Paris.")
agent = Agent(model, tools=tools, tool_choice=first("required", then="none"))
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:first]

# --8<-- [start:sequence]
lyon = ("search", {"query": "Lyon"})  # which `search` does not know: it raises
model = Scripted(calling(lyon), calling(rome), calling(verified), "Rome.")
agent = Agent(model, tools=tools, tool_choice=sequence(search, verify, then=none))
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:sequence]

# --8<-- [start:until_called]
model = Scripted(calling(paris), calling(rome), calling(verified), "Rome.")
agent = Agent(model, tools=tools, tool_choice=until_called(verify, "required"))
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:until_called]

# --8<-- [start:only]
model = Scripted(calling(paris, verified), "Paris has 2.1 million inhabitants.")
agent = Agent(model, tools=tools, tool_choice=only(search))
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:only]


# --8<-- [start:when]
def knows_both(state: State) -> bool:
    return sum(record.outcome == "ok" for record in state.calls) >= 2


model = Scripted(calling(paris), calling(rome), "Rome.")
agent = Agent(
    model, tools=tools, tool_choice=when(knows_both, none, otherwise=force(search))
)
print(agent.run_sync(QUESTION).explain())
# --8<-- [end:when]
