"""`test_chat_client` tests what an HTTP client of the caller's is asked."""

import pytest

from agentkit.models.client.callers_http import RequestBody
from tests.clients import ASYNCIO

pytestmark = pytest.mark.anyio


@ASYNCIO
async def test_a_body_can_be_sent_again() -> None:
    body = RequestBody(b"all of it")
    assert [[piece async for piece in body] for _ in range(2)] == [[b"all of it"]] * 2
