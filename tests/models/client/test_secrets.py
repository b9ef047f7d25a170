import gzip
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from agentkit import (
    ChatClient,
    ConfigurationError,
    InvalidRequest,
    ReplyLimits,
    Timeouts,
)
from agentkit.testing import Raw, Reply, answer, chaos, status
from tests.clients import BOTH, HELLO, KEY, QUICK, SSE, OnChunk, client_at, delta, event, failed, ignore

pytestmark = pytest.mark.anyio


def shown_by(error: traceback.TracebackException) -> Iterator[str]:
    """Give what a traceback shows of the frames that are not a test's own, causes and all."""
    yield "".join(error.format_exception_only())
    for frame in error.stack:
        if "/tests/" not in frame.filename:
            yield f"{frame.filename} {frame.name} {frame.locals}"
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None:
            yield from shown_by(other)


def assert_hidden(error: BaseException, *secrets: str) -> None:
    """Look for secrets in whatever an error shows: its text, its data, its traceback with all local variables."""
    shown = [*shown_by(traceback.TracebackException.from_exception(error, capture_locals=True)), repr(error)]
    assert len(shown) > 2
    shown += [str(vars(error)), *map(str, error.args)]
    for secret in (KEY, *secrets):
        for each in shown:
            assert secret not in each
        assert secret.encode() not in pickle.dumps(error)


OWN = "own-secret+/=77"
QUERY = "query%2Bsecret%2F7"
SAID = f"Bad key {KEY}, or Bearer {KEY}, or {OWN}, or query+secret/7, or {QUERY}."
SECRETS = (OWN, "query+secret/7", QUERY, OWN.replace("/", "\\/"), "query+secret\\/7")
ESCAPED = json.dumps(SAID).replace("/", "\\/").encode()
TELLING = {
    "401": status(401, {}, {"error": {"message": SAID, "code": SAID, "type": SAID}}),
    "401 packed": Raw([gzip.compress(SAID.encode())], 401, {"content-encoding": "gzip"}),
    "400 in words": status(400, {}, SAID.encode()),
    "400 escaped": Raw([b'{"error": {"message": ' + ESCAPED + b"}}"], 400),
    "400 page": status(400, {}, b"<html>" + SAID.encode()),
    "503 broken": Raw([SAID.encode()], 503, then="reset"),
    "429": status(429, {"x-request-id": SAID}),
    "redirect": status(307, {"location": f"https://a.b/?key={QUERY}&b={KEY}&c={OWN}"}),
    "error inside": Raw([json.dumps({"error": {"message": SAID, "code": SAID}}).encode()]),
    "error in a stream": Raw([delta("Hel"), event({"error": SAID})], headers=SSE),
    "error event": Raw([f"event: error\ndata: {SAID}\n\n".encode()], headers=SSE),
    "no JSON": Raw([SAID.encode()]),
    "no JSON in a stream": Raw([delta(SAID), f"data: {SAID}\n\n".encode()], headers=SSE),
    "no object": Raw([json.dumps([SAID]).encode()]),
    "page": Raw([f"<html><title>{SAID}</title>".encode()]),
    "no choices": Raw([json.dumps({"x": SAID}).encode()]),
    "choices": Raw([json.dumps({"choices": SAID}).encode()]),
    "packing": Raw([SAID.encode()], headers={"content-encoding": SAID}),
    "cut": Raw([delta(SAID)], headers=SSE),
    "cut by a reset": Raw([delta(SAID)], headers=SSE, then="reset"),
    "cut call": Raw(
        [
            event(
                {
                    "choices": [
                        {
                            "delta": {
                                "tool_calls": [{"id": SAID, "x": [SAID], "function": {"name": SAID, "arguments": SAID}}]
                            }
                        }
                    ]
                }
            )
        ],
        headers=SSE,
    ),
    "failed": Raw([delta(SAID, KEY), delta(None, "error")], headers=SSE),
    "too large": Raw([delta(SAID), delta("x" * 2000)], headers=SSE),
    "idle": Raw([delta(SAID)], headers=SSE, then="stall"),
    "no HTTP": Raw([b"HTTP/1.1 " + SAID.encode() + b"\r\n\r\n"], None),
}


@BOTH
@pytest.mark.parametrize("case", TELLING)
async def test_no_error_shows_a_secret(case: str, on_chunk: OnChunk | None) -> None:
    with chaos(TELLING[case]) as endpoint:
        client = ChatClient(
            "m",
            base_url=f"{endpoint.url}?key={QUERY}",
            headers={"X-Key": OWN, "Authorization": f"Bearer {KEY}"},
            timeout=Timeouts(idle=0.1),
            reply_limits=ReplyLimits(event=1000),
            retries=0,
        )
        error = await failed(client, on_chunk)
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    assert_hidden(error, *SECRETS)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("at", range(470, 501, 3))
async def test_a_key_that_is_cut_is_not_shown(at: int) -> None:
    said = "x" * at + KEY
    replies = [
        status(401, {}, {"error": {"message": said}}),
        Raw([json.dumps({"error": said}).encode()]),
        Raw([b'{"a": ' + b"x" * (at - 306) + KEY.encode()]),
        Raw([b"x" * (at + 1500) + KEY.encode()]),
        Raw([b"<" + b"x" * (at + 9500) + KEY.encode()], 500),
    ]
    with chaos(*replies) as endpoint:
        client = client_at(endpoint)
        errors = [await failed(client) for _ in replies]
    assert len({type(each) for each in errors}) == 4
    for error in errors:
        assert_hidden(error, KEY[:12])


async def test_a_text_that_only_begins_like_a_secret_is_left_as_it_is() -> None:
    with chaos(status(400, {}, {"error": f"{KEY[:12]} is how keys begin, and {KEY[:15]} is not one"})) as endpoint:
        error = await failed(client_at(endpoint))
    assert f"{KEY[:12]} is how keys begin, and {KEY[:15]} is not one" in str(error)
    with chaos(status(400, {}, b"short: abc")) as endpoint:
        assert "short: abc" in str(await failed(client_at(endpoint, api_key="abc")))


async def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    for http in (None, httpx.AsyncClient()):
        with chaos(answer("Hi.")) as endpoint:
            client = client_at(endpoint, headers={"x key": OWN}, http=http)
            with pytest.raises(InvalidRequest, match=r"; nothing was sent$") as caught:
                await client.complete(HELLO)
        assert_hidden(caught.value, OWN)
        assert caught.value.__context__ is None
        assert endpoint.requests == []
        if http is not None:
            await http.aclose()


@pytest.mark.parametrize(
    "odd",
    [
        "http://ann:hidden@a.b/v1",
        "http:/ann:hidden@a.b/v1",
        "ann:hidden@a.b/v1",
        "//ann:hidden@a.b",
        "http://ann:hid/hidden@a.b",
        "http://ann:hid?hidden@a.b",
        "http://ann:hid#hidden@a.b",
        "http://a.b:port/v1?key=hidden",
        "ftp://a.b?key=hidden",
        "a.b?key=hidden",
        "http://a.b:99999?key=hidden",
    ],
)
@pytest.mark.parametrize("name", ["base_url", "AGENTKIT_BASE_URL", "OPENAI_BASE_URL"])
def test_an_address_with_a_password_or_a_key_is_not_shown(odd: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    if name == "base_url":
        options["base_url"] = odd
    else:
        monkeypatch.setenv(name, odd)
    with pytest.raises(ConfigurationError) as caught:
        ChatClient("m", api_key=KEY, headers={"X-Key": OWN}, **options)
    assert_hidden(caught.value, "hid", OWN)
    assert caught.value.__context__ is None


def test_an_at_sign_in_the_path_is_no_password() -> None:
    assert ChatClient("m", base_url="http://a.b/@me/v1").base_url == "http://a.b/@me/v1"


async def test_no_log_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    faults: dict[int, Reply] = {1: status(503, {}, {"error": SAID}), 2: Raw([SAID.encode()])}
    with caplog.at_level(logging.DEBUG), chaos(answer("Hi."), faults=faults) as endpoint:
        client = client_at(endpoint, headers={"X-Key": OWN}, retries=QUICK)
        await client.complete(HELLO)
        await client.complete(HELLO, ignore)
    assert "asking again" in caplog.text
    assert KEY not in caplog.text
    assert OWN not in caplog.text
