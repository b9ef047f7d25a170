"""Many tools, in a run with a model that plays a script.

Run it: python examples/words/relevance.py
"""

from agentkit import Agent, Tool
from agentkit.testing import Scripted, calling
from agentkit.tool_choice import relevant

ACTIONS = {
    "list": "List",
    "create": "Create",
    "delete": "Delete",
    "export": "Export",
}
THINGS = [
    "invoice",
    "order",
    "customer",
    "ticket",
    "calendar",
    "contract",
    "flight",
]


# --8<-- [start:tools]
def make(action: str, thing: str) -> Tool:
    def run(name: str = "") -> str:
        return f"{action} {thing} {name}: done"

    return Tool.of(
        run,
        name=f"{action}_{thing}",
        description=f"{ACTIONS[action]} one {thing} or several.",
    )


tools = [make(action, thing) for action in ACTIONS for thing in THINGS]
# --8<-- [end:tools]

# --8<-- [start:relevant]
model = Scripted(
    calling(("export_invoice", {"name": "October"})), "It is exported."
)
agent = Agent(model, tools=tools, tool_choice=relevant(k=3))
result = agent.run_sync("Export the invoices of October.")
print(result.explain())
print([tool.name for tool in model.requests[0].tools])
# --8<-- [end:relevant]
