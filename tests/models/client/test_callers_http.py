"""`test_chat_client` tests what an HTTP client of the caller's is asked."""

import logging
from typing import Any

import httpx
import httpx2
import pytest

from agentkit import ChatClient
from agentkit.models.client.callers_http import RequestBody
from agentkit.testing import answer, chaos
from tests.clients import ASYNCIO, HELLO, KEY

pytestmark = pytest.mark.anyio


@ASYNCIO
async def test_a_body_can_be_sent_again() -> None:
    body = RequestBody(b"all of it")
    assert [[piece async for piece in body] for _ in range(2)] == [[b"all of it"]] * 2


@ASYNCIO
@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_key_in_the_query_is_in_no_log(library: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with chaos(answer("Hi.")) as endpoint:
        url = endpoint.url
        async with library.AsyncClient() as http:
            client = ChatClient("m", base_url=f"{url}?code=sk-in-the-query&v=1", api_key=KEY, http=http)
            assert (await client.complete(HELLO)).message.content == "Hi."
            await http.get(f"{url}/models?page=7")
    logged = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert f"{url}/chat/completions?code=…&v=…" in logged
    assert "sk-in-the-query" not in logged
    assert "page=7" in logged  # what others ask is theirs
