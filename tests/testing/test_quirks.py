"""Every quirk is played over a real socket to a real agent, and comes to what is right."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, ChatClient, ConfigurationError, Result, ToolMessage, tool
from agentkit.core import errors
from agentkit.core.errors import AgentkitError, EndpointError, ModelTimeout
from agentkit.models.client.retries import Retries
from agentkit.models.client.timeouts import Timeouts
from agentkit.testing import Chaos, Quirk, Repeat, Reply, answer, bytewise, calling, chaos, quirk, quirks
from tests import strict_endpoints
from tests.endpoint import fault_in

ROOT = Path(__file__).parent.parent.parent
KEY = "sk-SECRET2"
ATTEMPTS = 3
QUICK = Retries(attempts=ATTEMPTS, base=0.01, max_delay=0.02)
COUNTS = {"none": 1, "bounded": ATTEMPTS}
LONG = Timeouts(total=60)
SHORT = {"first_byte": Timeouts(first_byte=0.1, total=60), "idle": Timeouts(idle=0.1, total=60)}
PHASES = {"S49": "first_byte", "S50": "first_byte", "S51": "idle"}

MALFORMED = (errors.MalformedReply, errors.IncompleteReply)
ERRORS: dict[str, tuple[type[AgentkitError], ...]] = {
    "any": (AgentkitError,), "api_error": (EndpointError,), "connection": (errors.ConnectionFailed,),
    "content_filter": (errors.ContentFiltered,), "context": (errors.ContextTooLong,), "limit": (errors.ReplyTooLarge,),
    "incomplete_stream": (errors.IncompleteReply,), "malformed_response": MALFORMED, "malformed_stream": MALFORMED,
    "quota": (errors.QuotaExceeded,), "redirect": (EndpointError,), "timeout": (ModelTimeout,),
}  # fmt: skip

# What an endpoint refuses is proved where requests are made.
PROFILES, HISTORIES = "tests/models/client/test_profiles.py", "tests/testing/test_histories.py"
PROVED_BY = {"C05": "tests/tools/test_tool.py"}
PROVED_BY.update(dict.fromkeys(("C03", "C04", "C06", "C08", "T03", "T04", "T05", "T07", "T08", "T10", "T13"), PROFILES))
PROVED_BY.update(dict.fromkeys(("T01", "T12", "T15", "T17", "T18", "T19"), HISTORIES))

REPLIES = [quirk for quirk in quirks() if quirk.is_reply]
WAYS = [
    pytest.param(quirk, way, backend, id=f"{quirk.name}-{way}-{backend}")
    for quirk in REPLIES
    for way in (("streamed", "bytewise", "unasked") if quirk.kind == "stream" else ("plain",))
    for backend in (("asyncio", "trio") if quirk.id in PHASES and way == "streamed" else ("asyncio",))
]


@dataclass
class Seen:
    """What came of a quirk."""

    asked: int = 0
    ran: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    result: Result[str] | None = None
    error: AgentkitError | None = None

    @property
    def told(self) -> int:
        """How many calls were answered with an error."""
        messages = self.result.messages if self.result else ()
        return sum(isinstance(message, ToolMessage) and message.outcome == "error" for message in messages)

    def unmet(self, expect: Mapping[str, Any]) -> list[str]:
        """Say what is not as expected; what is expected later on does not matter here."""
        output, usage = (self.result.output, self.result.steps[0].usage) if self.result else (None, None)
        checks: dict[str, Callable[[Any], bool]] = {
            "calls": self._ran,
            "text": lambda text: output == text,
            "error": self._failed,
            "tool_error": lambda count: self.told == count,
            "usage": lambda total: usage is not None and usage.total_tokens == total,
            "any": lambda several: not all(self.unmet(one) for one in several),
            "retry": lambda retry: self.asked == COUNTS[retry] if retry in COUNTS else output == "done",
        }
        return [f"{key}: {self!r:.500}" for key, check in checks.items() if key in expect and not check(expect[key])]

    def _ran(self, calls: Sequence[Sequence[Any]]) -> bool:
        pairs = zip(self.ran, calls, strict=False)
        same = all(arguments == given for (_, given), (_, *rest) in pairs for arguments in rest)
        return same and [name for name, _ in self.ran] == [name for name, *_ in calls]

    def _failed(self, kind: str) -> bool:
        status = getattr(self.error, "status", None) or 0
        return isinstance(self.error, ERRORS[kind]) and (kind != "redirect" or 300 <= status < 400)


def script_of(given: Quirk, way: str) -> tuple[Reply, ...]:
    """Return what the endpoint plays. A quirk that is an error is repeated; after any other comes the end."""
    played = bytewise(given) if way == "bytewise" else given
    if given.status is None:  # on a connection that was used before
        return calling(("get_time", {})), played, answer("done")
    ends = [given.expect, *given.expect.get("any", ())]
    goes_on = any(end.get("calls") or "tool_error" in end for end in ends)
    fails = any("error" in end for end in ends)
    return (played,) if fails and not goes_on else (played, answer("done"))


async def play(given: Quirk, way: str, endpoint: Chaos) -> Seen:
    seen = Seen()

    @tool(sequential=True)
    def get_weather(city: str) -> None:
        seen.ran.append(("get_weather", {"city": city}))

    @tool(sequential=True)
    def get_time() -> None:
        seen.ran.append(("get_time", {}))

    @tool(sequential=True)
    def write_file(path: str, content: str) -> None:
        seen.ran.append(("write_file", {"path": path, "content": content}))

    timeout = SHORT[PHASES[given.id]] if given.expect.get("error") == "timeout" else LONG
    client = ChatClient("m", base_url=endpoint.url, api_key=KEY, timeout=timeout, retries=QUICK)
    agent = Agent(client, tools=[get_weather, get_time, write_file])
    try:
        if way in ("streamed", "bytewise"):
            async with agent.stream("Go on.") as run:
                async for _ in run:
                    pass
            seen.result = run.result
        else:
            seen.result = await agent.run("Go on.")
    except AgentkitError as error:
        seen.error = error
    seen.asked = len(endpoint.requests)
    assert [fault_in(request["messages"]) for request in endpoint.requests] == [None] * seen.asked
    return seen


@pytest.mark.anyio
@pytest.mark.parametrize(("given", "way", "anyio_backend"), WAYS)
@pytest.mark.no_cover
async def test_a_quirk_comes_to_what_is_right(given: Quirk, way: str) -> None:
    with chaos(answer("stolen")) as elsewhere:
        if "location" in given.headers:
            given = replace(given, headers={"location": f"{elsewhere.url}/chat/completions"})
        with chaos(*script_of(given, way), speed=100) as endpoint:
            seen = await play(given, way, endpoint)
    assert seen.unmet(given.expect) == []
    assert (seen.error is None) or any("error" in end for end in (given.expect, *given.expect.get("any", ())))
    assert seen.asked <= 2 * ATTEMPTS
    assert elsewhere.requests == []
    if seen.error is not None:
        shown = "".join(traceback.format_exception(seen.error)) + repr(vars(seen.error))
        assert given.expect.get("hidden", KEY) not in shown
    if isinstance(seen.error, ModelTimeout):
        assert seen.error.phase == PHASES[given.id]
    if "retry_after" in given.expect:
        assert isinstance(seen.error, EndpointError)
        assert seen.error.retry_after == given.expect["retry_after"]
    if str(given.expect.get("retry")).startswith("after>="):
        assert endpoint.times[1] - endpoint.times[0] >= float(given.expect["retry"].removeprefix("after>="))


# The data


def test_every_quirk_is_complete() -> None:
    firsts = [entry for entry in quirks() if not entry.variant]
    assert len({entry.id for entry in firsts}) == len(firsts) == 95
    assert len({entry.name for entry in quirks()}) == len(quirks())
    known = {"calls", "text", "error", "tool_error", "retry", "retry_after", "usage", "hidden", "any"}
    for entry in quirks():
        assert all((entry.title, entry.right, entry.sources))
        assert all(source.startswith("https://") for source in entry.sources)
        if entry.is_reply:
            assert (entry.sends, entry.refused, entry.rule) == ("", "", "")
            assert entry.writes or entry.status in (None, 307)
            expects = [entry.expect, *entry.expect.get("any", ())]
            assert all(expect and expect.keys() <= known and expect.get("error", "any") in ERRORS for expect in expects)
        else:
            assert all((entry.sends, entry.refused))
            assert (entry.writes, entry.expect) == ((), {})


def test_a_quirk_by_its_name() -> None:
    assert quirk("S12").title == quirk("S12-negative").title
    assert b'"index":-1' in b"".join(write for write in quirk("S12-negative").writes if isinstance(write, bytes))
    assert (quirk("S49").writes, len(quirk("S62").writes[-1])) == ((Repeat(b": keep-alive\n\n"),), 10_000_000)
    with pytest.raises(ConfigurationError, match="no quirk 'S99'"):
        quirk("S99")
    with pytest.raises(ConfigurationError, match="T01 is about requests"):
        quirk("T01").raw({})


def test_tests_prove_what_endpoints_refuse() -> None:
    requests = [entry for entry in quirks() if not entry.is_reply]
    assert {entry.id for entry in requests} == PROVED_BY.keys()
    assert all((ROOT / path).is_file() for path in PROVED_BY.values())
    assert all(hasattr(strict_endpoints, f"refusal_of_{entry.rule}") for entry in requests if entry.rule)
