"""The agents that the clients ask. Their models are scripted, so that each client gets the same replies."""

import json
from collections import Counter
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from pydantic import BaseModel

from agentkit import Agent, ChatRequest, tool
from agentkit.core.chat import ToolSpec
from agentkit.core.errors import EndpointUnavailable, RateLimited, RequestRefused
from agentkit.core.json import object_of
from agentkit.server import ChatServer
from agentkit.testing import FunctionModel, Scripted, calling
from agentkit.testing.models import Spoken
from tests.interop.clients.cells import KEY, weather
from tests.server.served import served

Exchanged: TypeAlias = MutableMapping[str, Any]

ANSWER = "It is in France, and I have not looked out of the window."
OWN = "locate"
TRIP = {"city": "Rome", "days": 2}


class Trip(BaseModel):
    """A trip."""

    city: str
    days: int


@tool
def locate(city: str) -> str:
    """Say where a city is."""
    return f"{city} is in France."


def play(request: ChatRequest) -> Spoken:
    """Call the agent's own tool, then each tool of the client, then answer with what that returned."""
    # smolagents sends results as texts of the user.
    said = " ".join([str(message.to_dict()) for message in request.messages])
    tools = {spec.name: spec for spec in request.tools if request.tool_choice.permits(spec.name)}
    if tools.pop(OWN, None) and "Paris is in France" not in said:
        return calling((OWN, {"city": "Paris"}))
    told = weather("Paris") in said
    answer = json.dumps(TRIP) if "weekend" in said else weather("Paris") if told else ANSWER
    for name, spec in tools.items():
        if (arguments := _arguments(spec, answer, told=told)) is not None:
            return calling((name, arguments))
    return answer


def _arguments(spec: ToolSpec, answer: str, *, told: bool) -> dict[str, object] | None:
    """Return the arguments for a tool by its parameters: the weather, a trip, or an answer to be wrapped."""
    properties = object_of(spec.parameters.get("properties"))
    if set(properties) == {"city"}:
        return None if told else {"city": "Paris"}
    if set(TRIP) <= set(properties):
        return dict[str, object](TRIP)
    return {name: json.loads(answer) if answer.startswith("{") else answer for name in properties}


class Counted:
    """An app that counts its replies to completions, by status."""

    def __init__(self, app: ChatServer) -> None:
        self.statuses: Counter[int] = Counter()
        self._app = app

    async def __call__(self, scope: Exchanged, receive: Any, send: Any) -> None:
        async def counting(message: Exchanged) -> None:
            if message["type"] == "http.response.start" and scope["path"].endswith("/chat/completions"):
                self.statuses[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counting)


@contextmanager
def serving() -> Generator[tuple[str, Counter[int]]]:
    """Serve the agents, and yield the address and the statuses of the replies."""
    agents: dict[str, Agent[Any, Any]] = {
        "agent": Agent(FunctionModel(play), tools=[locate]),
        "typed": Agent(FunctionModel(play), tools=[locate], output=Trip),
        "refused": Agent(Scripted(RequestRefused("no", status=400), repeat=True)),
        "busy": Agent(Scripted(RateLimited("no", status=429, retry_after=1), repeat=True)),
        "down": Agent(Scripted(EndpointUnavailable("no", status=503), repeat=True)),
    }
    app = Counted(ChatServer(agents, keys=[KEY]))
    with served(app) as address:
        yield f"{address}/v1", app.statuses
