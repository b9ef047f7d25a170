"""Ask about the weather."""

import json

from openai import OpenAI

TOOL = {
    "name": "get_weather",
    "description": "Look up the current weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def get_weather(city):
    return f"light rain in {city}"


client = OpenAI()
prompt = "Will it rain in Paris?"
messages = [{"role": "user", "content": prompt}]
while True:
    reply = client.chat.completions.create(
        model="m",
        messages=messages,
        tools=[{"type": "function", "function": TOOL}],
    ).choices[0]
    messages.append(reply.message)
    if not reply.message.tool_calls:
        break
    for call in reply.message.tool_calls:
        arguments = json.loads(call.function.arguments)
        messages.append(
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": get_weather(**arguments),
            }
        )
print(reply.message.content)
