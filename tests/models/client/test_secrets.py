"""Secrets that are cut, or not quite secrets; `promises/test_secrets` tests that no error and no log shows one."""

import json

import httpx
import pytest

from agentkit import InvalidRequest
from agentkit.testing import Raw, answer, chaos, status
from tests.clients import ASYNCIO, HELLO, KEY, assert_hidden, client_at, failed

pytestmark = pytest.mark.anyio

OWN = "own-secret+/=77"


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
