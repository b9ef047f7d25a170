"""A conversation stored in a file, which another process resumes.

Run it twice: python examples/remembering.py "The secret word is banana."
              python examples/remembering.py "What is the secret word?"
"""

import os
import sys

from agentkit import Agent, Settings, Sqlite, UserMessage

agent = Agent(
    os.environ.get("AGENTKIT_MODEL", "local"),
    settings=Settings(max_tokens=100),
    on_truncated="accept",
)


def main() -> None:
    prompt = " ".join(sys.argv[1:]) or "What is the secret word?"
    result = agent.run_sync(prompt, session=Sqlite("chats.db").conversation("me"))
    prompts = [
        message for message in result.messages if isinstance(message, UserMessage)
    ]
    print(f"{len(prompts)} prompts so far")
    print(result.output)


if __name__ == "__main__":
    main()
