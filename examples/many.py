"""Many inputs, two at a time, with a journal.

If you run it again, finished inputs are not asked again.

Run it: python examples/many.py
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import os

from agentkit import Agent, Settings

COUNTRIES = ["France", "Italy", "Norway", "Egypt"]

agent = Agent(
    os.environ.get("AGENTKIT_MODEL", "local"),
    instructions="Answer in one short sentence.",
    settings=Settings(max_tokens=40),
    on_truncated="accept",
)


def main() -> None:
    questions = [f"What is the capital of {country}?" for country in COUNTRIES]
    batch = agent.map_sync(questions, concurrency=2, journal="capitals.jsonl")
    for country, outcome in zip(COUNTRIES, batch, strict=True):
        print(f"{country}: {outcome.failure or outcome.output}")
    print(batch.summary)


if __name__ == "__main__":
    main()
