"""Runs to look at: one that an agent made, one whose texts are hostile, and one of 10,000 steps."""

import json
from base64 import b64encode
from functools import cache
from threading import Event
from typing import Any

import anyio

from agentkit import (
    Agent,
    AssistantMessage,
    ChatRequest,
    ChatResponse,
    ImagePart,
    Message,
    Result,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    tool,
)
from agentkit.core.messages import Outcome
from agentkit.core.model import OnChunk
from agentkit.tool_choice import budget, first, force, prerequisite
from agentkit.viewer import Json, run_of
from tests.scripted import Play, Scripted, called

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="60"><rect width="160" height="60" fill="#4a7fb5"/><circle cx="130" cy="18" r="9" fill="#ffd866"/><script>alert(4)</script></svg>'
PHOTO = ImagePart.from_bytes(SVG.encode(), "image/svg+xml")
HOSTILE = (
    "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> <a href='javascript:alert(3)'>x</a> "
    "\u202egnp.exe \x1b[2J \x00 \u200b \ud83d {{script}} " + "W" * 300
)


@tool
async def find_hotels(city: str, most: int = 3) -> dict[str, Any]:
    """Find hotels in a city."""
    await anyio.sleep(0.12)
    return {
        "hotels": [{"name": "Lutetia", "price": 210, "id": 12345678901234567890}, {"name": "Ritz", "price": 900}][:most]
    }


@tool
async def get_weather(city: str) -> str:
    """Look up the weather in a city."""
    await anyio.sleep(0.2)
    if city == "Atlantis":
        raise ValueError("there is no weather station in Atlantis")
    return f"light rain in {city}"


@tool
def get_photo(city: str) -> ImagePart:
    """Get a photo of a city."""
    return PHOTO


@tool(approval=True)
def book(hotel: str) -> str:
    """Book a room."""
    return f"a room at {hotel}"


class Thinking(Scripted):
    """A model that takes a while."""

    name = "some-model"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        await anyio.sleep(0.06)
        return await super().complete(request, on_chunk)


class Gated(Scripted):
    """A model that answers while its gate is open, or so many times more."""

    name = "some-model"

    def __init__(self, *plays: Play) -> None:
        super().__init__(*plays)
        self.gate = Event()
        self.gate.set()
        self._more = 0

    def pause_after(self, replies: int) -> None:
        self._more = replies
        self.gate.clear()

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        if self._more > 0:
            self._more -= 1
        else:
            await anyio.to_thread.run_sync(self.gate.wait)
        return await super().complete(request, on_chunk)


@cache
def travel() -> tuple[Agent[Any, str], Result[str]]:
    """An agent and a run of it: parallel calls, an error, a denied call, an approval, an image, and a sub-agent."""
    thought = {"reasoning_content": "The weather decides: I need it for both cities, and a photo to show."}
    guide = Agent(
        Thinking(called(("get_weather", {"city": "Lyon"})), AssistantMessage("It rains in Lyon.")),
        tools=[get_weather],
        name="guide",
    )
    many = called(
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Atlantis"}),
        ("get_photo", {"city": "Paris"}),
        ("ask_guide", {"prompt": "Does it rain in Lyon?"}),
    )
    plays = (
        called(("find_hotels", {"city": "Paris", "most": 2})),
        AssistantMessage("Let me look at the weather.", many.tool_calls, extra=thought),
        called(("book", {"hotel": "Lutetia"}), ("find_hotels", {"city": "Lyon"})),
        AssistantMessage("A room at the Lutetia is booked. It rains in Paris, so take an umbrella."),
    )
    policy = first(force(find_hotels), then="auto") & prerequisite(book, get_weather) & budget(6)
    agent = Agent(
        Thinking(*plays),
        tools=[find_hotels, get_weather, get_photo, book, guide.as_tool("ask_guide", "Ask a guide.")],
        tool_choice=policy,
        name="travel",
    )
    prompt: list[Message] = [SystemMessage("You plan trips."), UserMessage("Plan a weekend in Paris, with a hotel.")]
    return agent, agent.run_sync(prompt, approver=_slow_yes)


async def _slow_yes(_: ToolCall) -> bool:
    await anyio.sleep(0.15)
    return True


def hostile() -> Json:
    """A run in which every text is hostile."""
    call = ToolCall(HOSTILE, HOSTILE, json.dumps({HOSTILE: HOSTILE, "__proto__": {"x": HOSTILE}}))
    deep = ToolCall("deep", "deep", "[" * 5_000 + "]" * 5_000)
    reply = AssistantMessage(HOSTILE, (call, deep), extra={"reasoning_content": HOSTILE}, refusal=HOSTILE)
    svg = ImagePart(f"data:image/svg+xml;base64,{b64encode(SVG.encode()).decode()}")
    images = (svg, ImagePart("https://example.com/x.png"), ImagePart(f"data:text/html,{HOSTILE}"))
    answer = ToolMessage(HOSTILE, HOSTILE, "refused", full=f"{HOSTILE} whole", images=images, by=HOSTILE)
    facts: Json = {"choice": HOSTILE, "by": HOSTILE, "policy": HOSTILE, "violation": HOSTILE, "finish": HOSTILE}
    retried = {"retried": [{"error": HOSTILE, "after": 0.1, "delay": 0.2}], "began": 0.0, "seconds": 0.5}
    nested = run_of([AssistantMessage(HOSTILE)], [facts], agent=HOSTILE, model=HOSTILE)
    user = UserMessage((svg, ImagePart("https://example.com/x.png")), HOSTILE)
    return run_of(
        [SystemMessage(HOSTILE), user, reply, answer],
        [facts | retried],
        {(0, HOSTILE): {"began": 0.5, "seconds": 0.1, "repairs": [HOSTILE], "runs": [nested]}},
        title=HOSTILE,
        agent=HOSTILE,
        model=HOSTILE,
        error=HOSTILE,
    )


def long(steps: int = 10_000) -> Json:
    """A run of many steps, each with a call."""
    messages: list[Any] = [UserMessage("go")]
    known: list[Json] = []
    calls: dict[tuple[int, str], Json] = {}
    for step in range(steps):
        call = ToolCall("c0", "search", json.dumps({"query": f"city {step}", "limit": 5, "tags": ["a", "b"]}))
        result = json.dumps({"hits": [{"title": f"hit {step}", "text": "lorem ipsum " * 20}]})
        outcome: Outcome = "error" if step % 97 == 96 else "ok"
        messages += [
            AssistantMessage(f"Step {step} looks at one more city.", (call,)),
            ToolMessage("c0", result, outcome),
        ]
        known.append(
            {"choice": "auto", "by": "budget(9)", "began": 2.0 * step, "seconds": 1.0, "usage": {"prompt_tokens": step}}
        )
        calls[step, "c0"] = {"began": 2.0 * step + 1, "seconds": 1.0}
    return run_of(messages, known, calls, title="long", seconds=2.0 * steps, usage={"requests": steps})
