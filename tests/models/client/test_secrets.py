"""No error and no log of a client shows a secret, whatever the endpoint says back; see also `promises/test_secrets`."""

import gzip
import json
import logging

import httpx
import pytest

from agentkit import InvalidRequest, ReplyLimits, Timeouts
from agentkit.testing import Raw, Reply, answer, chaos, status
from tests.clients import (
    ASYNCIO,
    BOTH,
    HELLO,
    KEY,
    QUICK,
    SSE,
    OnChunk,
    assert_hidden,
    client_at,
    delta,
    event,
    failed,
    ignore,
)

pytestmark = pytest.mark.anyio

OWN = "own-secret+/=77"
QUERY = "query%2Bsecret%2F7"
SAID = f"Bad key {KEY}, or Bearer {KEY}, or {OWN}, or query+secret/7, or {QUERY}."
SECRETS = (OWN, "query+secret/7", QUERY, OWN.replace("/", "\\/"), "query+secret\\/7")
ESCAPED = json.dumps(SAID).replace("/", "\\/").encode()
CALL = {"id": SAID, "x": [SAID], "function": {"name": SAID, "arguments": SAID}}
REPLIES = {
    "401": status(401, {}, {"error": {"message": SAID, "code": SAID, "type": SAID}}),
    "401 compressed": Raw([gzip.compress(SAID.encode())], 401, {"content-encoding": "gzip"}),
    "400 escaped": Raw([b'{"error": {"message": ' + ESCAPED + b"}}"], 400),
    "400 page": status(400, {}, b"<html>" + SAID.encode()),
    "503 broken": Raw([SAID.encode()], 503, then="reset"),
    "429": status(429, {"x-request-id": SAID}),
    "redirect": status(307, {"location": f"https://a.b/?key={QUERY}&b={KEY}&c={OWN}"}),
    "error inside": Raw([json.dumps({"error": {"message": SAID, "code": SAID}}).encode()]),
    "error in a stream": Raw([delta("Hel"), event({"error": SAID})], headers=SSE),
    "error event": Raw([f"event: error\ndata: {SAID}\n\n".encode()], headers=SSE),
    "no JSON in a stream": Raw([delta(SAID), f"data: {SAID}\n\n".encode()], headers=SSE),
    "no object": Raw([json.dumps([SAID]).encode()]),
    "page": Raw([f"<html><title>{SAID}</title>".encode()]),
    "no choices": Raw([json.dumps({"x": SAID}).encode()]),
    "compression": Raw([SAID.encode()], headers={"content-encoding": SAID}),
    "cut by a reset": Raw([delta(SAID)], headers=SSE, then="reset"),
    "cut call": Raw([event({"choices": [{"delta": {"tool_calls": [CALL]}}]})], headers=SSE),
    "failed": Raw([delta(SAID, KEY), delta(None, "error")], headers=SSE),
    "too large": Raw([delta(SAID), delta("x" * 2000)], headers=SSE),
    "idle": Raw([delta(SAID)], headers=SSE, then="stall"),
    "no HTTP": Raw([b"HTTP/1.1 " + SAID.encode() + b"\r\n\r\n"], None),
}


@ASYNCIO
@BOTH
@pytest.mark.parametrize("case", REPLIES)
async def test_no_error_shows_a_secret(case: str, on_chunk: OnChunk | None) -> None:
    with chaos(REPLIES[case]) as endpoint:
        endpoint.url += f"?key={QUERY}"
        headers = {"X-Key": OWN, "Authorization": f"Bearer {KEY}"}
        limits = ReplyLimits(event=1000)
        client = client_at(endpoint, headers=headers, timeout=Timeouts(idle=0.05), reply_limits=limits)
        error = await failed(client, on_chunk)
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    assert_hidden(error, *SECRETS)
    assert error.__cause__ is error.__context__ is None


@ASYNCIO
async def test_a_key_that_is_cut_is_not_shown() -> None:
    for at in range(470, 501, 6):
        text = "x" * at + KEY
        replies = [
            status(401, {}, {"error": {"message": text}}),
            Raw([json.dumps({"error": text}).encode()]),
            Raw([b'{"a": ' + b"x" * (at - 306) + KEY.encode()]),
            Raw([b"x" * (at + 1500) + KEY.encode()]),
            Raw([b"<" + b"x" * (at + 9500) + KEY.encode()], 500),
        ]
        with chaos(*replies) as endpoint:
            client = client_at(endpoint)
            for _ in replies:
                assert_hidden(await failed(client), KEY[:12])


async def test_a_text_that_only_begins_like_a_secret_is_left_as_it_is() -> None:
    text = f"{KEY[:12]} is how keys begin, and {KEY[:15]} is not one"
    with chaos(status(400, {}, {"error": text}), status(400, {}, b"short: abc")) as endpoint:
        assert text in str(await failed(client_at(endpoint)))
        assert "short: abc" in str(await failed(client_at(endpoint, api_key="abc")))


async def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    async with httpx.AsyncClient() as own:
        for http in (None, own):
            with chaos(answer("Hi.")) as endpoint, pytest.raises(InvalidRequest, match="nothing was sent") as caught:
                await client_at(endpoint, headers={"x key": OWN}, http=http).complete(HELLO)
            assert_hidden(caught.value, OWN)
            assert caught.value.__context__ is None
            assert endpoint.requests == []


async def test_no_log_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    faults: dict[int, Reply] = {1: status(503, {}, {"error": SAID}), 2: Raw([SAID.encode()])}
    with caplog.at_level(logging.DEBUG), chaos(answer("Hi."), faults=faults) as endpoint:
        client = client_at(endpoint, headers={"X-Key": OWN}, retries=QUICK)
        await client.complete(HELLO)
        await client.complete(HELLO, ignore)
    assert "attempt 2" in caplog.text
    assert KEY not in caplog.text
    assert OWN not in caplog.text
