"""A thread of its own for each user."""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


agent = create_agent(
    ChatOpenAI(model="m", temperature=0),
    [get_weather],
    system_prompt="Be brief.",
    checkpointer=InMemorySaver(),
)
prompt = {
    "role": "user",
    "content": "Will it rain in Paris?",
}
result = agent.invoke(
    {"messages": [prompt]},
    {"configurable": {"thread_id": "ann"}},
)
print(result["messages"][-1].content)
