"""The request that a run would send, and the one that it sent."""

import shlex
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeAlias

import pytest
from pydantic import BaseModel

from agentkit import Agent, ChatClient, Fallback, Limits, Prompted, Settings, State, TextToolCalls, Trimmed, tool
from agentkit.core.errors import InvalidRequest, ModelError
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.model import Model
from agentkit.core.parts import ImagePart
from agentkit.runs.events import StepStarted, ToolStarted
from agentkit.testing import Raw, answer, chaos
from agentkit.tool_choice import auto, first, force, given
from tests.clients import KEY
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio

Wrap: TypeAlias = Callable[[ChatClient], Model]


def at_first(state: State) -> Literal["required", "auto"]:
    return "required" if state.step == 0 else "auto"


@tool(strict=True)
def search(query: str, most: int = 5) -> str:
    """Search the documents."""
    return f"{most} of {query}"


@tool(ends=True)
def stop() -> str:
    """Stop."""
    return "stopped"


class City(BaseModel):
    name: str


GO, NEXT = UserMessage("go"), UserMessage("And c?")
CALLS = (ToolCall("c0", "search", '{"query": "a", "most": 1}'), ToolCall("c1", "search", '{"query": "b", "most": 1}'))
ASKED = (UserMessage("Find a and b."), AssistantMessage(tool_calls=CALLS))
RESULTS = (ToolMessage("c0", "1 of a"), ToolMessage("c1", "1 of b"))
FOUND = (*ASKED, *RESULTS)
STOPPED = (GO, AssistantMessage(tool_calls=(ToolCall("c0", "stop", "{}"),)), ToolMessage("c0", "stopped"))
LONG = (*[part for at in range(40) for part in (UserMessage(f"{at} {'x' * 400}"), AssistantMessage("y" * 400))],)

MODELS: dict[str, Wrap] = {
    "plain": lambda client: client,
    "prompted": Prompted,
    "prompted, decides first": lambda client: Prompted(client, small=True),
    "text calls": TextToolCalls,
    "fallback": lambda client: Fallback(client, Scripted(said("x"))),
    "trimmed": lambda client: Trimmed(client, tokens=2000),
    "trimmed, prompted": lambda client: Trimmed(Prompted(client), tokens=2000),
}
PROMPTS: dict[str, Any] = {
    "text": "What is new? ☂ \ud800",
    "history": [*FOUND, NEXT],
    "after calls": FOUND,
    "dicts": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "to be repaired": [GO, ToolMessage("c9", "lost"), *ASKED, RESULTS[1], RESULTS[0], NEXT],
    "images": [*ASKED, RESULTS[0], ToolMessage("c1", "shown", images=(ImagePart("data:image/png;base64,AA=="),))],
    "shortened": [*ASKED, ToolMessage("c0", "1 … a", full="1 of a"), RESULTS[1]],
    "long": [*LONG, NEXT],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "instructions": {"instructions": "Be brief.", "settings": Settings(temperature=0.5, seed=7)},
    "force": {"tool_choice": first(force(search), then=auto)},
    "required": {"tool_choice": at_first},
    "no tools left": {"tool_choice": "none"},
    "typed": {"output": City},
    "typed, as text": {"output": City, "output_mode": "format"},
    "continued": {"on_truncated": "continue", "limits": Limits(result=1000)},
    "several": {"settings": Settings(n=2)},
}


def agent_at(url: str, model: str = "plain", **options: Any) -> Agent[Any, Any]:
    client = ChatClient("m", base_url=url, api_key=KEY, headers={"x-team": KEY[::-1]}, retries=0)
    tools: list[Callable[..., object]] = [search] if "output" in options else [search, stop]
    return Agent(MODELS[model](client), tools=tools, **options)


async def fail(agent: Agent[Any, Any], prompt: Any, *, streamed: bool) -> None:
    """Run at an endpoint that refuses the first request."""
    with suppress(ModelError):  # a fallback answers
        if streamed:
            async with agent.stream(prompt) as run:
                _ = [event async for event in run]
        else:
            await agent.run(prompt)


@pytest.mark.parametrize(
    ("model", "prompt", "options"),
    [
        *[(model, prompt, "none") for model in ("plain", "trimmed, prompted") for prompt in PROMPTS],
        *[(model, "after calls", options) for model in MODELS for options in OPTIONS],
    ],
)
async def test_a_dry_run_shows_the_request_of_a_run(model: str, prompt: str, options: str) -> None:
    with chaos(Raw([b"no"], 400)) as endpoint:
        agent = agent_at(f"{endpoint.url}?code={KEY}", model, **OPTIONS[options])
        for streamed in (False, True):
            preview = agent.dry_run(PROMPTS[prompt], streamed=streamed)
            sent = len(endpoint.requests)
            await fail(agent, PROMPTS[prompt], streamed=streamed)
            assert preview.body == endpoint.bodies[sent]
            assert preview.data == endpoint.requests[sent]
            assert preview.url == f"{endpoint.url}/chat/completions?code=…"
            headers = {name: value for name, value in preview.headers if "…" not in value}
            assert headers.items() <= endpoint.headers[sent].items()
            assert {name for name, value in preview.headers if "…" in value} == {"authorization", "x-team"}
            # The preview stays the same, whatever was run in between.
            assert agent.dry_run(PROMPTS[prompt], streamed=streamed) == preview
            for text in (str(preview), repr(preview), preview.curl(), repr(preview.headers)):
                assert KEY not in text
                assert KEY[::-1] not in text


@pytest.mark.parametrize("prompt", [ASKED, FOUND[:3], [GO, AssistantMessage("Gone.")], STOPPED])
async def test_a_run_that_begins_with_calls_or_is_over_has_no_first_request(prompt: Any) -> None:
    with chaos(answer("x")) as endpoint:
        agent = agent_at(endpoint.url)
        with pytest.raises(InvalidRequest):
            agent.dry_run(prompt)
        async with agent.stream(prompt) as run:
            kinds = [type(event) async for event in run]
    if ToolStarted in kinds:
        assert kinds.index(ToolStarted) < kinds.index(StepStarted)
    else:
        assert (run.result.steps, endpoint.requests) == ((), [])


@pytest.mark.parametrize("prompt", [[], [{"role": "user"}]])
def test_a_prompt_that_no_request_can_be_made_of(prompt: Any) -> None:
    with pytest.raises(InvalidRequest):
        agent_at("http://127.0.0.1:1/v1").dry_run(prompt)


# ------------------------------------------------------------------------------------------------------ what was sent


async def test_a_step_has_the_command_that_repeats_its_request() -> None:
    with chaos(answer("Hi.")) as endpoint:
        agent = agent_at(endpoint.url)
        command = (await agent.run("go")).steps[0].curl()
        assert command == agent.dry_run("go").curl()
    words = shlex.split(command)
    assert words[words.index("--data-raw") + 1].encode() == endpoint.bodies[0]
    assert KEY not in command
    assert "authorization: Bearer $AGENTKIT_API_KEY" in command


async def test_a_reply_that_did_not_come_over_http() -> None:
    with pytest.raises(InvalidRequest):
        (await Agent(Scripted(said("x"))).run("go")).steps[0].curl()


def test_a_run_that_begins_with_a_known_call_has_no_first_request() -> None:
    client = ChatClient("m", base_url="http://127.0.0.1:9/v1", api_key=KEY)
    agent = Agent(client, tools=[search], tool_choice=first(given(search, query="a")))
    with pytest.raises(InvalidRequest, match="search"):
        agent.dry_run("go")
    assert (
        agent.dry_run("go", tool_choice="none").body
        == Agent(client, tools=[search], tool_choice="none").dry_run("go").body
    )
