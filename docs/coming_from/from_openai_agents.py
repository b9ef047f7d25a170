"""A stored conversation, and a limit."""

from agents import (
    Agent,
    Runner,
    SQLiteSession,
    function_tool,
    set_default_openai_api,
    set_tracing_disabled,
)

set_default_openai_api("chat_completions")
set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


agent = Agent(
    name="weather",
    model="m",
    tools=[get_weather],
    instructions="Be brief.",
)
session = SQLiteSession("ann", "chats.db")
result = Runner.run_sync(
    agent,
    "Will it rain in Paris?",
    session=session,
    max_turns=5,
)
print(result.final_output)
