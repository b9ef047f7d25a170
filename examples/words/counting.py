"""Policies that count, each in a run with a model that plays a script.

Run it: python examples/words/counting.py
"""

from agentkit import Agent, tool
from agentkit.testing import Scripted, calling
from agentkit.tool_choice import budget, cooldown, no_repeat, one_at_a_time


@tool
def search(query: str) -> str:
    """Search the documents."""
    return f"one document about {query}"


@tool
def scrape(url: str) -> str:
    """Read a page with a browser; this is expensive."""
    return "a page"


tools = [search, scrape]
page = ("scrape", {"url": "https://example.org"})
paris, rome, oslo = [
    ("search", {"query": city}) for city in ("Paris", "Rome", "Oslo")
]

# --8<-- [start:budget]
model = Scripted(calling(paris, rome, oslo), "I know about Paris and Rome.")
agent = Agent(model, tools=tools, tool_choice=budget(2))
print(agent.run_sync("Compare Paris, Rome and Oslo.").explain())
# --8<-- [end:budget]

# --8<-- [start:of]
model = Scripted(calling(page, paris), calling(page), "I read one page.")
agent = Agent(model, tools=tools, tool_choice=budget(1, of=scrape))
print(agent.run_sync("What is on example.org, and what about Paris?").explain())
# --8<-- [end:of]

# --8<-- [start:weights]
model = Scripted(calling(page), calling(page), calling(paris), "That is all.")
agent = Agent(model, tools=tools, tool_choice=budget(4, weights={scrape: 3}))
print(agent.run_sync("What is on example.org, and what about Paris?").explain())
# --8<-- [end:weights]

# --8<-- [start:one_at_a_time]
model = Scripted(calling(paris, rome), calling(rome), "Both are capitals.")
agent = Agent(model, tools=tools, tool_choice=one_at_a_time())
print(agent.run_sync("Compare Paris and Rome.").explain())
# --8<-- [end:one_at_a_time]

# --8<-- [start:cooldown]
model = Scripted(calling(paris), calling(rome), calling(page), "Done.")
agent = Agent(model, tools=tools, tool_choice=cooldown(search))
print(agent.run_sync("Compare Paris and Rome.").explain())
# --8<-- [end:cooldown]

# --8<-- [start:no_repeat]
model = Scripted(*[calling(oslo)] * 3, "I found one document.")
agent = Agent(model, tools=tools, tool_choice=no_repeat(2))
print(agent.run_sync("What about Oslo?").explain())
# --8<-- [end:no_repeat]
