"""Conversations that the server keeps: what clients may list, read, continue and delete."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from agentkit.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from agentkit.core.parts import ImagePart, TextPart
from agentkit.core.repair import repaired
from agentkit.core.session import Session
from agentkit.core.state import State
from agentkit.runs.plan import Plan
from agentkit.server.errors import HttpError

CONVERSATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWNER_DIGITS = 16
_LISTED = 100
_REMEMBERED = 10_000
_TITLE = 80


class SessionStore(Protocol):
    """Any number of conversations, each under a name. `Sqlite` is one."""

    def conversation(self, name: str) -> Session:
        """Return the session of one conversation, which exists once it has an entry."""
        ...

    async def conversations(self) -> tuple[str, ...]:
        """Return the names of all conversations, the one with the newest entry first."""
        ...

    async def delete(self, name: str) -> bool:
        """Delete a conversation; return whether it existed."""
        ...


class Conversations:
    """The conversations of a store, as the clients of a server see them.

    In the store, the name of a conversation is `AGENT.ID`, or `AGENT.KEY.ID` on a server with keys, where `KEY` is the
    beginning of the key's digest. So a key reaches its own conversations only, each with the agent that it began with.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._titles: dict[str, str] = {}

    def session(self, agent: str, key: str, id_: str) -> Session:
        """Return the session of a conversation, which need not exist yet."""
        return self._store.conversation(_prefix(agent, key) + id_)

    async def listed(self, agent: str, key: str) -> dict[str, object]:
        """Return the ids and titles of the newest conversations, the newest first."""
        prefix = _prefix(agent, key)
        names = [name for name in await self._store.conversations() if _is_in(prefix, name)][:_LISTED]
        if len(self._titles) > _REMEMBERED:
            self._titles.clear()
        self._titles |= {name: await self._title(name) for name in names if name not in self._titles}
        data = [{"id": name.removeprefix(prefix), "title": self._titles[name]} for name in names]
        return {"object": "list", "data": data}

    async def view(self, plan: Plan, agent: str, key: str, id_: str, *, tools: bool) -> dict[str, object]:
        """Return a conversation.

        Args:
            plan: The agent's plan.
            agent: Its name on the server.
            key: The digest of the client's key.
            id_: The id of the conversation.
            tools: Whether the client may see calls of the agent's tools, and reasoning.

        Raises:
            HttpError: 404 if there is none.
        """
        stored = await self.session(agent, key, id_).load()
        if not stored.size:
            raise _not_found()
        messages = repaired(stored.messages).messages
        complete = State.of(messages, plan.stop_at).finished
        views = list(_views(messages, plan, tools=tools))
        return {"id": id_, "object": "conversation", "complete": complete, "messages": views}

    async def delete(self, agent: str, key: str, id_: str) -> dict[str, object]:
        """Delete a conversation.

        Raises:
            HttpError: 404 if there is none.
        """
        name = _prefix(agent, key) + id_
        self._titles.pop(name, None)
        if not await self._store.delete(name):
            raise _not_found()
        return {"id": id_, "object": "conversation", "deleted": True}

    async def _title(self, name: str) -> str:
        """Return the beginning of the first question."""
        messages = (await self._store.conversation(name).load()).messages
        texts = [_text(message) for message in messages if isinstance(message, UserMessage)]
        return " ".join(next(filter(None, texts), "").split())[:_TITLE]


def _prefix(agent: str, key: str) -> str:
    return f"{agent}.{key[:_OWNER_DIGITS]}." if key else f"{agent}."


def _is_in(prefix: str, name: str) -> bool:
    return name.startswith(prefix) and CONVERSATION_ID.fullmatch(name, len(prefix)) is not None


def _not_found() -> HttpError:
    return HttpError(404, "there is no such conversation", code="conversation_not_found")


def _text(message: UserMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return " ".join([part.text for part in message.content if isinstance(part, TextPart)])


def _views(messages: Iterable[Message], plan: Plan, *, tools: bool) -> Iterator[dict[str, object]]:
    """Return messages as the wire has them, with what the client saw in events, and answers that tools gave."""
    final = None if plan.output is None or plan.output.final is None else plan.output.final.name
    names: dict[str, str] = {}
    for message in messages:
        match message:
            case UserMessage(note=False):
                yield message.to_dict()
            case AssistantMessage(tool_calls=calls):
                names |= {call.id: call.name for call in calls}
                shown = [call for call in calls if tools and call.name != final]
                view = replace(message, content=None if final else message.content, tool_calls=tuple(shown))
                if view.content or view.refusal or view.tool_calls:
                    yield view.to_dict() | ({"reasoning": message.reasoning} if tools and message.reasoning else {})
            case ToolMessage(tool_call_id=id_, outcome=outcome):
                name = names.get(id_)
                if tools and name != final:
                    yield message.to_dict() | {"outcome": outcome} | image_urls(message.images)
                if name in plan.stop_at and outcome == "ok":
                    yield {"role": "assistant", "content": message.result}
            case _:
                pass


def image_urls(parts: tuple[object, ...]) -> dict[str, object]:
    """Return the addresses of the images among these parts, as a field of an event; none if there are none."""
    urls = [part.url for part in parts if isinstance(part, ImagePart)]
    return {"images": urls} if urls else {}
