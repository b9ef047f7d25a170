"""Stores for conversations that outlive a run: in memory, in a file of JSON lines, or in an SQLite file.

A session is a journal: entries are appended in the order in which things happened, and nothing is written twice. An
entry that was acknowledged survives the death of the process, and the conversation resumes from it.

May import only `core`, whose `session` holds the protocol. Another store is a file of its own with one class; its tests
run through the table in `tests/sessions`.
"""

from agentkit.core.dicts import dumps, loads, stored
from agentkit.core.session import Ended, Entry, HeldSession, Session, SharedSession, Started, StoredConversation
from agentkit.sessions.exclusive import Exclusive
from agentkit.sessions.jsonl import JsonLines
from agentkit.sessions.memory import Memory
from agentkit.sessions.sqlite import Sqlite

__all__ = [
    "Ended",
    "Entry",
    "Exclusive",
    "HeldSession",
    "JsonLines",
    "Memory",
    "Session",
    "SharedSession",
    "Sqlite",
    "Started",
    "StoredConversation",
    "dumps",
    "loads",
    "stored",
]
