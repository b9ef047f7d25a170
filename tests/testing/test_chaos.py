import json
import socket
import threading
import time
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from agentkit import ConfigurationError
from agentkit.testing import Chaos, Raw, Repeat, Reply, answer, chaos, cut, quirk, refuse, status

BODY: dict[str, Any] = {"model": "m", "messages": []}


@contextmanager
def connected(endpoint: Chaos) -> Generator[socket.socket]:
    address = httpx.URL(endpoint.url)
    with socket.create_connection((address.host, address.port or 0), timeout=60) as connection:
        yield connection


def post(endpoint: Chaos, body: Mapping[str, Any] = BODY) -> httpx.Response:
    """Ask on a connection of its own."""
    return httpx.post(f"{endpoint.url}/chat/completions", json=body, timeout=60, verify=False)  # noqa: S501 (loading certificates takes long, and it is http)


def asking(body: bytes = b"{}", *, path: str = "/v1/chat/completions", headers: str = "") -> bytes:
    length = "" if "content-length" in headers else f"content-length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}{length}\r\n".encode() + body


def received(connection: socket.socket, until: bytes | None = None) -> bytes:
    """Everything until the end of the connection, or until something has come."""
    got = b""
    while (until is None or not got.endswith(until)) and (some := connection.recv(65536)):
        got += some
    return got


# What comes


def test_the_last_reply_is_played_again_and_again_and_streamed_if_that_is_asked() -> None:
    with chaos(answer("one"), answer("two")) as endpoint:
        texts = [post(endpoint).json()["choices"][0]["message"]["content"] for _ in range(3)]
    assert texts == ["one", "two", "two"]
    with chaos(answer("It rains.")) as endpoint:
        response = post(endpoint, {**BODY, "stream": True})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.content == b"".join(answer("It rains.").raw({"model": "m", "stream": True}).writes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("raw", "head", "body"), [
    (Raw([b"ab", b"", b"\r\n\x00"], 418, {"X-Id": "7", "retry-after": "1"}), b"418 I'm a Teapot\r\nx-id: 7\r\nretry-after: 1\r\ncontent-length: 5", b"ab\r\n\x00"),
    (Raw([b"ab", b"", Repeat(b"xy", 6)], 520, {"transfer-encoding": "chunked"}), b"520 \r\ntransfer-encoding: chunked", b"2\r\nab\r\nc\r\nxyxyxyxyxyxy\r\n0\r\n\r\n"),
])  # fmt: skip
def test_bytes_arrive_exactly_and_each_write_of_a_chunked_body_is_a_chunk(raw: Raw, head: bytes, body: bytes) -> None:
    with chaos(raw) as endpoint, connected(endpoint) as connection:
        connection.sendall(asking(headers="connection: close\r\n"))
        assert received(connection) == b"HTTP/1.1 " + head + b"\r\nconnection: close\r\n\r\n" + body


def test_a_quirk_is_played_as_it_was_seen_and_what_repeats_without_end_until_the_client_leaves() -> None:
    given = quirk("S19")
    with chaos(given) as endpoint:
        response = post(endpoint)
    assert response.content == b"".join(write for write in given.writes if isinstance(write, bytes))
    assert response.headers["connection"] == "close"

    with chaos(Raw([Repeat(b": keep-alive\n\n")], then="stall")) as endpoint, connected(endpoint) as connection:
        connection.sendall(asking())
        got = b""
        while len(got) < 20_000:
            got += connection.recv(65536)
    assert got.partition(b"\r\n\r\n")[2].startswith(b": keep-alive\n\n" * 1000)


def test_pauses_are_kept_and_may_be_shorter() -> None:
    with chaos(Raw([b"a", b"b"], pause=50), speed=1000) as endpoint:
        began = time.monotonic()
        assert post(endpoint).text == "ab"
        assert 0.1 <= time.monotonic() - began < 50


# Faults


@pytest.mark.parametrize("count", [0, 1, 30])
def test_a_plain_body_is_cut_where_it_was_asked(count: int) -> None:
    whole = answer("It rains in Paris.").raw({}).writes[0]
    assert isinstance(whole, bytes)
    with chaos(cut(answer("It rains in Paris."), after_bytes=count, then="close")) as endpoint:
        with connected(endpoint) as connection:
            connection.sendall(asking())
            head, _, body = received(connection).partition(b"\r\n\r\n")
        assert f"content-length: {len(whole)}".encode() in head
        assert body == whole[:count]
        with pytest.raises(httpx.RemoteProtocolError):
            post(endpoint)


def test_a_stream_is_cut_after_an_event() -> None:
    got: list[str] = []
    with (
        chaos(cut(answer("It rains."), after_chunks=2, then="close")) as endpoint,
        httpx.stream("POST", f"{endpoint.url}/chat/completions", json={"stream": True}) as response,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
    ):
        got.extend(response.iter_lines())
    assert [line for line in got if line][-1].endswith('"It"}, "finish_reason": null}]}')


def test_a_connection_is_reset_in_the_middle_of_a_body_or_ends_before_any_byte() -> None:
    with chaos(cut(answer("Hello"), after_bytes=10)) as endpoint, connected(endpoint) as connection:
        connection.sendall(asking())
        with pytest.raises(ConnectionResetError):
            received(connection)
    with chaos(refuse()) as endpoint, connected(endpoint) as connection:
        connection.sendall(asking())
        assert received(connection) == b""
    assert endpoint.requests == [{}]
    with chaos(refuse("reset")) as endpoint, pytest.raises(httpx.ReadError):
        post(endpoint)


@pytest.mark.parametrize(("reply", "begins"), [(refuse("stall"), False), (cut(answer("Hello"), after_bytes=10, then="stall"), True)])  # fmt: skip
def test_a_stall_is_held_until_the_end_of_the_block(reply: Reply, *, begins: bool) -> None:
    with ExitStack() as stack:
        with chaos(reply) as endpoint:
            connection = stack.enter_context(connected(endpoint))
            connection.sendall(asking())
            if begins:
                assert received(connection, until=b'\r\n\r\n{"id": "ch')
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                received(connection)
        connection.settimeout(60)
        assert received(connection) == b""


def test_a_pause_ends_with_the_block() -> None:
    with ExitStack() as stack:
        with chaos(Raw([b"never"], pause=1000)) as endpoint:
            connection = stack.enter_context(connected(endpoint))
            connection.sendall(asking())
            connection.recv(1)
        assert received(connection).endswith(b"\r\n\r\n")


def test_a_fault_comes_at_a_request_and_the_reply_after_it_and_cuts_at_any_byte() -> None:
    faults: dict[int, Reply] = {2: status(503), 3: cut(after_bytes=4, then="end"), 5: refuse()}
    with chaos(answer("one"), answer("two"), faults=faults) as endpoint:
        responses = [post(endpoint) for _ in range(4)]
        with pytest.raises(httpx.RemoteProtocolError):
            post(endpoint)
    assert [response.status_code for response in responses] == [200, 503, 200, 200]
    assert "one" in responses[0].text
    assert responses[2].text == '{"id'
    assert "two" in responses[3].text

    given = answer("Hello")
    size = given.raw({"stream": True}).size
    for count in range(0, size, 80):
        with chaos(cut(given, after_bytes=count, then="end")) as endpoint:
            assert len(post(endpoint, {"stream": True}).content) == count


# What is asked


def test_requests_are_recorded_in_order() -> None:
    began = time.monotonic()
    with chaos(answer("Hello")) as endpoint:
        for number in range(3):
            httpx.post(f"{endpoint.url}/chat/completions?q=1", json={"n": number}, headers={"X-Key": str(number)})
    assert endpoint.requests == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert [json.loads(body) for body in endpoint.bodies] == endpoint.requests
    assert [headers["x-key"] for headers in endpoint.headers] == ["0", "1", "2"]
    moments = [began, *endpoint.times, time.monotonic()]
    assert (moments, endpoint.connections) == (sorted(moments), 3)


def test_a_connection_serves_several_requests() -> None:
    chunked = Raw([b"a"], headers={"transfer-encoding": "chunked"})
    with (
        chaos(answer("plain"), status(429), chunked, refuse(), answer("new")) as endpoint,
        httpx.Client(base_url=endpoint.url) as client,
    ):
        codes = [client.post("/chat/completions", json={}).status_code for _ in range(3)]
        with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
            client.post("/chat/completions", json={})
        codes.append(client.post("/chat/completions", json={}).status_code)
    assert (codes, endpoint.connections) == ([200, 429, 200, 200], 2)


def test_requests_at_once_are_served_at_once() -> None:
    here = threading.Barrier(8, timeout=60)

    class Waiting:
        def raw(self, request: Mapping[str, Any]) -> Raw:
            here.wait()
            return Raw([b"ok"])

    with chaos(Waiting()) as endpoint, ThreadPoolExecutor(8) as pool:
        texts = [response.text for response in pool.map(post, [endpoint] * 8)]
    assert texts == ["ok"] * 8


@pytest.mark.parametrize(("asked", "code"), [
    (asking(path="/chat/completions"), 404), (asking().replace(b"POST", b"PUT"), 404),
    (b"hello\r\ncontent-length: 0\r\n\r\n", 404), (asking(b"{"), 400), (asking(b"[]"), 400),
    (asking(b"[" * 200_000), 400), (asking(b"\xff"), 400),
    (asking(b"", headers="transfer-encoding: chunked\r\ncontent-length\r\n"), 411),
    (asking(headers="content-length: two\r\n"), 411),
    (asking(headers="content-length: -1\r\n"), 413),
    (asking(headers="content-length: 100000001\r\n"), 413),
    (asking(headers="a: b\r\n" * 200), 411),
])  # fmt: skip
def test_what_is_no_request_is_refused(asked: bytes, code: int) -> None:
    with chaos(answer("Hello")) as endpoint, connected(endpoint) as connection:
        connection.sendall(asked)
        connection.shutdown(socket.SHUT_WR)
        assert received(connection).startswith(f"HTTP/1.1 {code} ".encode())
    assert endpoint.requests == []


@pytest.mark.parametrize("asked", [b"", asking()[:-1]])
def test_a_client_may_leave_before_it_has_asked(asked: bytes) -> None:
    with chaos(answer("Hello")) as endpoint, connected(endpoint) as connection:
        connection.sendall(asked)
        connection.shutdown(socket.SHUT_WR)
        assert received(connection) == b""
    assert endpoint.requests == []


# The endpoint itself


def test_nothing_is_left_open_and_a_connection_that_ended_is_forgotten() -> None:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        with chaos(answer("Hello"), refuse("stall")) as endpoint:
            # Connections are accepted in order: once the last is served, all are there.
            silent, stalled, idle = (stack.enter_context(connected(endpoint)) for _ in range(3))
            idle.sendall(asking())
            assert idle.recv(1) == b"H"
            stalled.sendall(asking())
            stalled.settimeout(0.1)
            with pytest.raises(TimeoutError):
                stalled.recv(1)
            assert len(set(threading.enumerate()) - before) == 4
        assert set(threading.enumerate()) <= before
        assert silent.recv(1) == b""
        with pytest.raises(ConnectionRefusedError), connected(endpoint):
            pass
    with chaos(answer("Hello")) as endpoint:
        for _ in range(20):
            post(endpoint)
        assert len(endpoint._open) < 20


def test_an_error_of_a_reply_is_raised_at_the_end_of_the_block() -> None:
    responses: list[httpx.Response] = []

    def ask_twice(error: Exception | None = None) -> None:
        with chaos(quirk("C03"), quirk("C04")) as endpoint:
            responses.extend([post(endpoint), post(endpoint)])
            if error is not None:
                raise error

    with pytest.raises(ConfigurationError, match="C03 is about requests"):
        ask_twice()
    assert [response.status_code for response in responses] == [500, 500]
    assert "C04 is about requests" in responses[1].json()["error"]["message"]
    with pytest.raises(KeyError):  # an error of the block comes first
        ask_twice(KeyError())


@pytest.mark.parametrize("wrong", [{"faults": {0: refuse()}}, {"speed": 0}, None])
def test_wrong_arguments(wrong: dict[str, Any] | None) -> None:
    with pytest.raises(ConfigurationError):
        chaos(*[answer("Hello")] * (wrong is not None), **wrong or {})
