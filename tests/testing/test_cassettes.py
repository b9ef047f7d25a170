import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentkit import Agent, ChatClient, TextDelta
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice
from agentkit.core.errors import ConfigurationError, IncompleteReply, ModelError, RateLimited
from agentkit.core.messages import AssistantMessage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.testing import Cassette, FunctionModel, Scripted, UnexpectedRequest, answer, calling, chaos, cut, status
from agentkit.testing.cassettes import Record
from agentkit.testing.recordings import is_recordable

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

HELLO = ChatRequest((UserMessage("Hello"),))
CALL = calling(("get_weather", {"city": "Paris"}))


def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


def absent() -> Any:
    raise AssertionError("nothing is to be asked")


async def ask(model: Any, text: str = "Is it raining in Paris?", **options: Any) -> str:
    return str((await Agent(model, tools=[get_weather], **options).run(text)).output)


async def test_what_an_endpoint_said_is_played_without_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "one.jsonl"
    with chaos(CALL, answer("It rains.")) as endpoint:
        recording = Cassette(ChatClient("m", base_url=endpoint.url, api_key=""), path, record="new")
        assert recording.name == "m"
        assert await ask(recording) == "It rains."
    replaying = Cassette(absent, path)
    assert (replaying.name, repr(replaying)) == ("m", f"Cassette({str(path)!r}, record='none')")
    assert await ask(replaying) == "It rains."
    assert replaying.missed == []
    kinds = [next(iter(json.loads(line))) for line in path.read_text().splitlines()]
    second = ["request", "tool", *["message"] * 3, "reply"]
    assert kinds == ["cassette", *("request", "tool", "message", "reply"), *second]
    assert [file.name for file in path.parent.iterdir()] == ["one.jsonl"]


async def test_a_stream_is_played_chunk_by_chunk_also_if_it_was_recorded_plain(tmp_path: Path) -> None:
    heard: list[list[str]] = []
    for model, record in ((Scripted(answer("one two three")), "all"), (absent, "none")):
        async with Agent(Cassette(model, tmp_path / "a", record=record)).stream("Count.") as run:  # type: ignore[arg-type]
            heard.append([event.text async for event in run if isinstance(event, TextDelta)])
    assert heard == [["one", " two", " three"]] * 2

    chunks: list[ChatChunk] = []
    for first, then in ((None, chunks.append), (chunks.append, None)):
        path = tmp_path / str(first is None)
        reply = await Cassette(Scripted("one two"), path, record="new").complete(HELLO, first)
        assert await Cassette(absent, path).complete(HELLO, then) == reply
    assert [chunk.text for chunk in chunks] == ["one two", "", "one", " two", "", ""]


async def test_an_error_is_raised_again_and_after_the_same_chunks(tmp_path: Path) -> None:
    breaking = cut(answer("one two three"), after_chunks=3, then="end")
    script = Scripted(status(429, {"retry-after": "2"}), breaking, "Yes.")
    outcomes: list[list[Any]] = []
    for model in (script, absent):
        told: list[Any] = []
        cassette = Cassette(model, tmp_path / "a", record="new")
        for _ in range(3):
            try:
                reply = await cassette.complete(HELLO, told.append)
                told.append(reply)
            except ModelError as error:
                told.append((type(error), str(error), error.text, error.calls))
        outcomes.append(told)
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][0] is RateLimited
    assert [outcome for outcome in outcomes[0] if isinstance(outcome, tuple)][1][0] is IncompleteReply


async def test_errors_that_cannot_be_read_again_are_not_recorded(tmp_path: Path) -> None:
    class Mine(ModelError):
        pass

    assert not is_recordable(Mine("mine"))
    cassette = Cassette(Scripted(Mine("mine"), ValueError("a bug")), tmp_path / "a", record="new")
    for kind in (Mine, ValueError):
        with pytest.raises(kind):
            await cassette.complete(HELLO)
    assert not (tmp_path / "a").exists()


async def test_equal_requests_take_their_recordings_in_order(tmp_path: Path) -> None:
    recording = Cassette(Scripted("one", "two"), tmp_path / "a", record="new")
    assert [(await recording.complete(HELLO)).message.content for _ in range(2)] == ["one", "two"]
    replaying = Cassette(absent, tmp_path / "a")
    assert [(await replaying.complete(HELLO)).message.content for _ in range(2)] == ["one", "two"]
    with pytest.raises(UnexpectedRequest, match="this request 2 times") as caught:
        await replaying.complete(HELLO)
    assert replaying.missed == [caught.value]


async def test_a_miss_shows_the_difference_to_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    recording = Cassette(Scripted("one", "two"), path, record="new")
    await ask(recording, "Is it raining in Paris?")
    await ask(recording, "Write a poem about nothing at all.", instructions="Rhyme.")
    replaying = Cassette(absent, path)
    with pytest.raises(UnexpectedRequest) as caught:
        await ask(replaying, "Is it raining in Rome?")
    said = str(caught.value)
    assert said.startswith(f"{path} has no recording of this request; record=")
    assert "--agentkit-record=new" in said
    changed = [line for line in said.splitlines() if line.startswith(("-", "+"))]
    assert changed == [
        "--- the nearest recording",
        "+++ the request",
        '-    "content": "Is it raining in Paris?",',
        '+    "content": "Is it raining in Rome?",',
    ]
    with pytest.raises(UnexpectedRequest) as caught:
        await replaying.complete(ChatRequest(tuple([UserMessage(str(number)) for number in range(100)])))
    assert str(caught.value).endswith("\n…")


async def test_new_records_what_is_missing_and_all_everything(tmp_path: Path) -> None:
    path = tmp_path / "a"

    async def answers(record: Record, model: Any, *asked: str) -> list[str | None]:
        cassette = Cassette(model, path, record=record)
        requests = [ChatRequest((UserMessage(text),)) for text in asked]
        return [(await cassette.complete(request)).message.content for request in requests]

    assert await answers("new", Scripted("1"), "one") == ["1"]
    assert await answers("new", Scripted("2"), "one", "two") == ["1", "2"]
    assert await answers("none", absent, "two", "one") == ["2", "1"]
    assert await answers("all", Scripted("3"), "one") == ["3"]
    assert await answers("none", absent, "one") == ["3"]
    with pytest.raises(UnexpectedRequest):
        await answers("none", absent, "two")


async def test_runs_at_once_are_recorded_in_the_order_in_which_they_asked(tmp_path: Path) -> None:
    begun = [anyio.Event() for _ in range(10)]

    class Backwards:
        """Answers the last first."""

        name = "backwards"

        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            text = str(request.messages[0].content)
            begun[int(text)].set()
            if int(text) < 9:
                await begun[int(text) + 1].wait()
            await anyio.lowlevel.checkpoint()
            return ChatResponse((Choice(AssistantMessage(f"answer {text}"), "stop"),))

    path = tmp_path / "a"
    asked = [ChatRequest((UserMessage(str(number)),)) for number in range(10)]
    for model in (Backwards, absent):
        cassette = Cassette(model, path, record="new")
        found: dict[int, str | None] = {}

        async def run(number: int, cassette: Cassette = cassette, found: dict[int, str | None] = found) -> None:
            found[number] = (await cassette.complete(asked[number])).message.content

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(run, number)
        assert found == {number: f"answer {number}" for number in range(10)}
    assert [json.loads(line)["message"]["content"] for line in path.read_text().splitlines() if "user" in line]


async def test_nothing_of_the_client_is_in_the_file(tmp_path: Path) -> None:
    with chaos(status(401, {}, {"error": {"message": "wrong key sk-secret"}}), CALL, answer("It rains.")) as endpoint:
        url, headers = (
            f"{endpoint.url}?code=in-the-query",
            {"x-team": "team-secret", "authorization-2": "Bearer other-secret"},
        )
        client = ChatClient("m", base_url=url, api_key="sk-secret", headers=headers, retries=0)
        cassette = Cassette(client, tmp_path / "a", record="new")
        with pytest.raises(ModelError):
            await cassette.complete(HELLO, lambda _: None)
        assert await ask(cassette) == "It rains."
        assert endpoint.headers[0]["authorization"] == "Bearer sk-secret"
    text = (tmp_path / "a").read_text()
    assert '"AuthenticationFailed"' in text
    for secret in ("sk-secret", "in-the-query", "team-secret", "x-team", "other-secret", "authorization", "Bearer"):
        assert secret not in text


async def test_what_is_cancelled_is_not_recorded(tmp_path: Path) -> None:
    async def never(request: ChatRequest) -> str:
        scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    cassette = Cassette(FunctionModel(never), tmp_path / "a", record="new")
    with anyio.CancelScope() as scope:
        await cassette.complete(HELLO)
    assert scope.cancelled_caught
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "record"),
    [("nothing.jsonl", "none"), (".", "none"), ("a", "some"), ("binary", "none"), ("damaged", "new")],
)
async def test_files_that_cannot_be_replayed(tmp_path: Path, name: str, record: Any) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "damaged").write_text('{"cassette": 1}\n{"request"')
    with pytest.raises(ConfigurationError):
        Cassette(absent, tmp_path / name, record=record)
    (tmp_path / "empty").write_text('{"cassette": 1, "model": "m"}\n')
    with pytest.raises(UnexpectedRequest, match="has no recordings"):
        await Cassette(absent, tmp_path / "empty").complete(HELLO)


async def test_a_name_is_the_model_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with chaos(answer("It rains.")) as endpoint:
        monkeypatch.setenv("AGENTKIT_BASE_URL", endpoint.url)
        assert await ask(Cassette("some-model", tmp_path / "a", record="new")) == "It rains."
        assert endpoint.requests[0]["model"] == "some-model"
    monkeypatch.delenv("AGENTKIT_BASE_URL")
    assert await ask(Cassette("some-model", tmp_path / "a")) == "It rains."
