from typing import Any

import anyio
import pytest

from agentkit.server.asgi import HttpExchange, ClientDisconnected
from agentkit.server.errors import HttpError

pytestmark = pytest.mark.anyio


def exchange(*messages: dict[str, Any], sent: list[Any] | None = None, **scope: Any) -> HttpExchange:
    coming = list(messages)

    async def receive() -> dict[str, Any]:
        if not coming:
            await anyio.sleep_forever()
        return coming.pop(0)

    async def send(message: Any) -> None:
        assert sent is not None
        sent.append(message)

    return HttpExchange({"method": "POST", "path": "/", "headers": [], **scope}, receive, send)


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("root", "path", "below"),
    [
        ("", "/v1/models", "/v1/models"),
        ("/chat", "/chat/v1/models", "/v1/models"),
        ("/chat/", "/chat/v1/models", "/v1/models"),
        ("/chat", "/chat", ""),
        ("/chat", "/v1/models", "/v1/models"),
        ("/chat", "/chatter/v1", "/chatter/v1"),
        (None, "/v1", "/v1"),
    ],
)
async def test_the_path_is_that_below_the_place_where_it_is_mounted(root: str | None, path: str, below: str) -> None:
    assert exchange(root_path=root, path=path).path == below


async def test_the_first_of_two_headers_counts() -> None:
    headers = [(b"Host", b" one "), (b"host", b"two")]
    assert exchange(headers=headers).header("host") == "one"
    assert exchange().header("host") == ""


async def test_a_body_in_pieces() -> None:
    assert await exchange(part(b"ab", more=True), part(b"cd")).body(4, 1) == b"abcd"
    assert await exchange({"type": "http.request"}).body(4, 1) == b""


async def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    for length in (b"5", b"9" * 5000):
        announced = exchange(headers=[(b"content-length", length)])
        with pytest.raises(HttpError) as caught:
            await announced.body(4, 1)
        assert caught.value.status == 413
    with pytest.raises(HttpError) as caught:
        await exchange(part(b"abc", more=True), part(b"de", more=True)).body(4, 1)
    assert caught.value.status == 413


async def test_a_body_that_does_not_come() -> None:
    with pytest.raises(HttpError) as caught:
        await exchange(part(b"a", more=True)).body(4, 0.01)
    assert caught.value.status == 408


async def test_a_client_that_goes_away_while_it_sends() -> None:
    with pytest.raises(ClientDisconnected):
        await exchange(part(b"a", more=True), GONE).body(4, 1)


async def test_until_the_client_is_gone() -> None:
    await exchange(part(b"what else comes"), GONE).until_disconnected()


async def test_a_reply_as_a_whole_and_without_its_body() -> None:
    sent: list[Any] = []
    await exchange(sent=sent).respond(200, b"text", {"content-type": "text/plain"})
    head = dict(sent[0]["headers"])
    assert (head[b"content-length"], head[b"content-type"]) == (b"4", b"text/plain")
    assert head[b"x-content-type-options"] == b"nosniff"
    assert sent[1]["body"] == b"text"
    sent.clear()
    await exchange(sent=sent, method="HEAD").respond(200, b"text", {})
    assert dict(sent[0]["headers"])[b"content-length"] == b"4"
    assert sent[1]["body"] == b""


async def test_an_error_is_a_reply_or_the_last_event_of_a_stream() -> None:
    sent: list[Any] = []
    await exchange(sent=sent).fail(HttpError(400, "no", headers={"allow": "GET"}))
    assert sent[0]["status"] == 400
    assert (b"allow", b"GET") in sent[0]["headers"]
    sent.clear()
    begun = exchange(sent=sent)
    await begun.begin(200, {})
    await begun.write(b"piece")
    await begun.fail(HttpError(500, "no"))
    assert sent[2]["body"].startswith(b'data: {"error":{"message":"no"')
    assert sent[3] == {"type": "http.response.body", "body": b""}


async def test_what_is_sent_to_a_client_that_is_gone_is_lost() -> None:
    async def send(_: Any) -> None:
        raise OSError

    async def receive() -> dict[str, Any]:
        return GONE

    await HttpExchange({"method": "GET", "path": "/", "headers": []}, receive, send).respond(200, b"", {})
