"""Sessions: conversations that are kept."""

from agentkit.core.session import Entry, Kept, Session, Started
from agentkit.sessions.jsonl import JsonLines
from agentkit.sessions.memory import Memory
from agentkit.sessions.sqlite import Sqlite

__all__ = ["Entry", "JsonLines", "Kept", "Memory", "Session", "Sqlite", "Started"]
