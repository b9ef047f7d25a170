from typing import Any

import anyio
import pytest

from agentkit.server import asgi
from agentkit.server.asgi import ClientDisconnected, HttpExchange
from agentkit.server.errors import HttpError

pytestmark = pytest.mark.anyio

DISCONNECT = {"type": "http.disconnect"}


def exchange(
    *messages: dict[str, Any], sent: list[Any] | None = None, received: list[Any] | None = None, **scope: Any
) -> HttpExchange:
    coming = list(messages)

    async def receive() -> dict[str, Any]:
        if not coming:
            await anyio.sleep_forever()
        if received is not None:
            received.append(coming[0])
        return coming.pop(0)

    async def send(message: Any) -> None:
        if sent is None:
            raise OSError
        sent.append(message)

    return HttpExchange({"method": "POST", "path": "/", "headers": [], **scope}, receive, send)


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(("root", "path", "below"), [
    ("", "/v1/models", "/v1/models"), ("/chat", "/chat/v1/models", "/v1/models"), ("/chat/", "/chat/v1/models", "/v1/models"),
    ("/chat", "/chat", ""), ("/chat", "/v1/models", "/v1/models"), ("/chat", "/chatter/v1", "/chatter/v1"), (None, "/v1", "/v1"),
])  # fmt: skip
def test_the_path_is_relative_to_the_mount(root: str | None, path: str, below: str) -> None:
    assert exchange(root_path=root, path=path).path == below


def test_the_first_of_two_headers_counts() -> None:
    assert exchange(headers=[(b"Host", b" one "), (b"host", b"two")]).header("host") == "one"
    assert exchange().header("host") == ""


async def test_a_body_in_parts() -> None:
    assert await exchange(part(b"ab", more=True), part(b"cd")).body(4, 1) == b"abcd"
    assert await exchange({"type": "http.request"}).body(4, 1) == b""


@pytest.mark.parametrize(("messages", "length", "status"), [
    ([], b"5", 413), ([], b"9" * 5000, 413),  # before anything is read
    ([part(b"abc", more=True), part(b"de", more=True)], None, 413),
    ([part(b"a", more=True)], None, 408),
])  # fmt: skip
async def test_a_body_that_is_too_large_or_too_slow(messages: Any, length: bytes | None, status: int) -> None:
    headers = [] if length is None else [(b"content-length", length)]
    with pytest.raises(HttpError) as caught:
        await exchange(*messages, headers=headers).body(4, 0.01)
    assert caught.value.status == status


async def test_the_rest_of_a_body_is_drained_before_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_DRAIN_BYTES", 5)
    too_large = HttpError(413, "no", code="x")
    rest = [part(b"abc", more=True), part(b"de", more=True), part(b"f")]
    for read, headers in ((2, []), (0, [(b"expect", b"100-continue")])):
        sent: list[Any] = []
        received: list[Any] = []
        client = exchange(*rest, sent=sent, received=received, headers=headers)
        await client.fail(too_large)
        assert (sent[0]["status"], len(received)) == (413, read)
    sent, received = [], []
    client = exchange(*rest, sent=sent, received=received)
    with pytest.raises(HttpError):
        await client.body(2, 1)
    monkeypatch.setattr(asgi, "_DRAIN_BYTES", 5_000)
    await client.fail(too_large)
    assert len(received) == 3
    await client.fail(too_large)  # there is nothing left to read
    monkeypatch.setattr(asgi, "_DRAIN_SECONDS", 0.01)
    await exchange(part(b"a", more=True), sent=sent).fail(too_large)  # a client that waits for the response


async def test_a_client_that_disconnects() -> None:
    with pytest.raises(ClientDisconnected):
        await exchange(part(b"a", more=True), DISCONNECT).body(4, 1)
    await exchange(part(b"what else comes"), DISCONNECT).until_disconnected()
    await exchange().respond(200, b"", {})  # what is sent to it is lost


async def test_a_response_with_and_without_its_body() -> None:
    sent: list[Any] = []
    await exchange(sent=sent).respond(200, b"text", {"content-type": "text/plain"})
    head = dict(sent[0]["headers"])
    assert (head[b"content-length"], head[b"content-type"]) == (b"4", b"text/plain")
    assert head[b"x-content-type-options"] == b"nosniff"
    await exchange(sent=sent, method="HEAD").respond(200, b"text", {})
    assert dict(sent[2]["headers"])[b"content-length"] == b"4"
    assert [message["body"] for message in (sent[1], sent[3])] == [b"text", b""]


async def test_an_error_is_a_response_or_the_last_event_of_a_stream() -> None:
    sent: list[Any] = []
    await exchange(sent=sent).fail(HttpError(400, "no", headers={"allow": "GET"}))
    assert sent[0]["status"] == 400
    assert (b"allow", b"GET") in sent[0]["headers"]
    begun = exchange(sent=sent)
    await begun.begin(200, {})
    await begun.fail(HttpError(500, "no"))
    assert sent[3]["body"].startswith(b'data: {"error":{"message":"no"')
    assert sent[4] == {"type": "http.response.body", "body": b""}
