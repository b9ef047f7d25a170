"""Write the stores in this folder, which later versions must read: run it with the version whose format is to be kept.

python -m tests.attack.before.make FOLDER
"""

import sys
from pathlib import Path

import anyio

from agentkit import Agent, Journal, JsonLines, Sqlite, tool
from agentkit.core.session import Session, Started
from tests.scripted import Scripted, called, said

PAY = [("pay", {"invoice": 1}), ("pay", {"invoice": 2}), ("send", {"mail": "a"})]


@tool(effect="once", key="invoice")
def pay(invoice: int) -> str:
    if invoice == 2:
        raise ValueError("no such invoice")
    return f"paid {invoice}"


@tool(effect="once")
def send(mail: str) -> str:
    return f"sent {mail}"


async def write(session: Session) -> None:
    """Have a conversation, in which a process died while it paid the invoice 3."""
    agent = Agent(Scripted(called(*PAY), said("done")), tools=[pay, send])
    await agent.run("Pay.\n\u2028 Then send a mail.", session=session)
    asked = called(("pay", {"invoice": 3}))
    await session.append([asked, Started("c0", "pay", '{"invoice": 3}', "the key of invoice 3")])


async def main(folder: Path) -> None:
    await write(JsonLines(folder / "chat.jsonl"))
    file = Sqlite(folder / "chats.db")
    await write(file.conversation("ann"))
    await write(file.conversation("bob"))
    batch = Agent(Scripted(*[said(text) for text in "abc"]), name="batch")
    await batch.map(["1", "2", "3"], journal=Journal(folder / "batch.jsonl"), concurrency=1)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
