import copy
import dataclasses
import json
import pickle
import re
import shlex
import subprocess
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ChatClient, ChatRequest, EndpointError, InvalidRequest, Profile, Settings, UserMessage
from agentkit.core.chat import ToolSpec
from agentkit.core.http_request import HttpRequest, masked_header, masked_url
from agentkit.core.json import decode, encode
from agentkit.core.printable import PROSE
from agentkit.testing import Raw
from tests.clients import BOTH, KEY, OnChunk
from tests.endpoint import Endpoint, serving, text
from tests.strategies import any_text

pytestmark = pytest.mark.anyio

HEADER = "canary-header 77\"d1'e0$x"
QUERY = "canary-query%2B0b4e61"
SECRETS = (KEY, HEADER, QUERY, "canary")
WORDS = "It's \"so\": $HOME `id` \\ \n\r\t € 😀 'x'; #!"
REQUEST = ChatRequest((UserMessage(WORDS),), (ToolSpec("add", WORDS, {"type": "object"}),), settings=Settings(seed=7))
KNOWN = {
    "AGENTKIT_API_KEY": KEY,
    "AGENTKIT_HEADER_X_TEAM": HEADER,
    "AGENTKIT_QUERY_API_VERSION": "1",
    "AGENTKIT_QUERY_KEY": QUERY,
}
AS_CURL_HAS_IT = {"user-agent", "accept", "host", "content-length", "connection"}  # these it adds of its own


def client_at(url: str, **options: Any) -> ChatClient:
    address = f"{url}?api-version=1&key={QUERY}"
    return ChatClient("m", base_url=address, api_key=KEY, headers={"X-Team": HEADER}, retries=0, **options)


CLIENT = client_at("https://api.example/v1")
SENT = CLIENT.sends(REQUEST)


def filled(word: str) -> str:
    """Put in what does not show, as the shell does."""
    for name, value in KNOWN.items():
        word = word.replace(f"${name}", value)
    assert "$AGENTKIT" not in word
    return word


def parsed(command: str) -> tuple[str, dict[str, str], bytes]:
    """Read a command: where to, the headers, the body."""
    curl, globbing_off, url, *options = shlex.split(command)
    *headers, flag, body = options
    assert (curl, globbing_off, flag, set(headers[::2])) == ("curl", "-g", "--data-raw", {"-H"})
    pairs = [filled(header).split(": ", 1) for header in headers[1::2]]
    return filled(url), {name: value for name, value in pairs}, body.encode()  # noqa: C416 (pairs are lists)


def arguments(command: str) -> tuple[list[str], str]:
    """Run a command in the shell, with a stand-in for curl that tells what it is given."""
    script = 'curl() { printf "%s\\0" "$@"; printf "\\n--\\n"; case "$*" in *@-) cat;; esac; }\n' + command
    done = subprocess.run(["/bin/sh"], input=script.encode(), env=KNOWN, capture_output=True, check=True)
    assert done.stderr == b""
    given, _, piped = done.stdout.decode().partition("\0\n--\n")
    return given.split("\0"), piped


@BOTH
@pytest.mark.parametrize("callers", [False, True], ids=["own connections", "a client of the caller's"])
async def test_the_command_is_what_the_endpoint_receives(on_chunk: OnChunk | None, *, callers: bool) -> None:
    with serving(text("Hi.")) as endpoint:
        async with httpx.AsyncClient() as http:
            client = client_at(endpoint.url, http=http if callers else None)
            sends = client.sends(REQUEST, streamed=on_chunk is not None)
            assert endpoint.requests == []
            reply = await client.complete(REQUEST, on_chunk)
    assert reply.sent == sends
    url, headers, body = parsed(sends.curl())
    came = {name: value for name, value in endpoint.headers[0].items() if name not in AS_CURL_HAS_IT}
    assert (headers, body) == (came, endpoint.bodies[0])
    assert [f"{urlsplit(url).path}?{urlsplit(url).query}"] == endpoint.targets
    assert url.startswith(endpoint.url)
    assert sends.body == endpoint.bodies[0]
    assert sends.data == endpoint.requests[0]
    assert ("stream" in sends.data) == (on_chunk is not None)


def test_the_shell_gives_curl_what_the_command_says() -> None:
    given, piped = arguments(SENT.curl())
    assert given == [
        "-g",
        f"https://api.example/v1/chat/completions?api-version=1&key={QUERY}",
        *("-H", "content-type: application/json"),
        *("-H", "accept-encoding: identity"),
        *("-H", f"authorization: Bearer {KEY}"),
        *("-H", f"x-team: {HEADER}"),
        *("--data-raw", SENT.body.decode()),
    ]
    assert piped == ""


def test_a_body_that_is_too_long_for_an_argument_is_piped() -> None:
    long = CLIENT.sends(ChatRequest((UserMessage(WORDS * 10_000),)))
    given, piped = arguments(long.curl())
    assert len(long.body) > 200_000
    assert piped.encode() == long.body
    assert given[-2:] == ["--data-binary", "@-"]
    assert given[:-2] == arguments(SENT.curl())[0][:-2]


@given(any_text())
def test_any_body_is_quoted(said: str) -> None:
    body = encode({"said": said})
    request = HttpRequest("http://a.example/", (), lambda: body)
    *words, data = shlex.split(request.curl())
    assert words == ["curl", "-g", "http://a.example/", "--data-raw"]
    assert decode(data) == decode(body)
    assert data.isprintable()
    assert all(char.isprintable() or char in PROSE for char in str(request))


@pytest.mark.parametrize(("headers", "shown"), [
    ({"Authorization": f"Bearer {KEY}"}, "authorization: Bearer $AGENTKIT_API_KEY"),
    ({"Authorization": f"bearer {KEY}"}, "authorization: bearer $AGENTKIT_API_KEY"),
    ({"Authorization": f"Basic {KEY}"}, "authorization: $AGENTKIT_HEADER_AUTHORIZATION"),
    ({"Authorization": KEY}, "authorization: $AGENTKIT_HEADER_AUTHORIZATION"),
    ({"api-key": KEY}, "api-key: $AGENTKIT_HEADER_API_KEY"),
    ({"x-auth": f"Bearer {KEY}"}, "x-auth: Bearer $AGENTKIT_HEADER_X_AUTH"),
    ({"Content-Type": "application/json"}, "content-type: $AGENTKIT_HEADER_CONTENT_TYPE"),
])  # fmt: skip
def test_headers_of_the_callers_do_not_show(headers: dict[str, str], shown: str) -> None:
    sends = ChatClient("m", base_url="http://a.example/v1", headers=headers).sends(REQUEST)
    assert f'-H "{shown}"' in sends.curl()
    assert KEY not in f"{sends} {sends!r} {sends.headers} {sends.curl()}"


@pytest.mark.parametrize(("url", "masked", "written"), [
    ("http://a.b/v1", "http://a.b/v1", "http://a.b/v1"),
    ("http://[::1]:80/v1", "http://[::1]:80/v1", "'http://[::1]:80/v1'"),
    ("http://a.b/$x?key=s$cret", "http://a.b/$x?key=…", r'"http://a.b/\$x?key=$AGENTKIT_QUERY_KEY"'),
    ("http://a.b/?s3cret", "http://a.b/?…", '"http://a.b/?$AGENTKIT_QUERY"'),
    ("http://a.b/?s3cret==", "http://a.b/?…", '"http://a.b/?$AGENTKIT_QUERY"'),
    ("http://a.b/?s3cret=&&a-b=s3cret&c_=s=3cret", "http://a.b/?…&&a-b=…&c_=…", '"http://a.b/?$AGENTKIT_QUERY&&a-b=$AGENTKIT_QUERY_A_B&c_=$AGENTKIT_QUERY_C"'),
])  # fmt: skip
def test_the_query_does_not_show(url: str, masked: str, written: str) -> None:
    assert masked_url(url) == masked
    assert HttpRequest(masked, (), lambda: b"{}").curl() == f"curl -g {written} --data-raw '{{}}'"


@given(st.text(st.characters(max_codepoint=127, categories=["L", "N", "P", "S", "Zs"]), min_size=1), any_text())
def test_nothing_of_a_secret_is_in_what_is_shown(secret: str, blank: str) -> None:
    assert masked_header(f"x{secret}") == masked_header(f"Basic {secret}") == "…"
    assert masked_header(f"Bearer {secret}") == "Bearer …"
    query = re.sub("[?#&=]", "", secret) or "x"
    assert masked_url(f"http://a.b/?key={query}&{query}") == "http://a.b/?key=…&…"


def test_it_is_read_by_people() -> None:
    request = ChatRequest((UserMessage("Grüezi"),))
    sends = ChatClient("m", base_url="http://a.example/v1?key=secret", api_key=KEY).sends(request, streamed=True)
    assert repr(sends) == "HttpRequest('http://a.example/v1/chat/completions?key=…')"
    assert str(sends) == (
        "POST http://a.example/v1/chat/completions?key=…\n"
        "content-type: application/json\n"
        "accept-encoding: identity\n"
        "authorization: Bearer …\n"
        "\n"
        '{\n  "model": "m",\n  "messages": [\n    {\n      "role": "user",\n      "content": "Grüezi"\n    }\n  ],\n'
        '  "stream": true,\n  "stream_options": {\n    "include_usage": true\n  }\n}'
    )


def test_the_fragment_of_an_address_is_not_sent() -> None:
    assert ChatClient("m", base_url="http://a.b/v1#x").sends(REQUEST).url == "http://a.b/v1/chat/completions"


def test_it_is_a_value() -> None:
    same = CLIENT.sends(REQUEST)
    others = [
        CLIENT.sends(REQUEST, streamed=True),
        client_at("https://b.example/v1").sends(REQUEST),
        dataclasses.replace(SENT, headers=()),
    ]
    assert (same, hash(same)) == (SENT, hash(SENT))
    assert SENT not in others
    assert SENT != "a text"
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(SENT, "url", "")  # noqa: B010 (the type checkers know better)
    for again in (pickle.loads(pickle.dumps(SENT)), copy.copy(SENT), copy.deepcopy(SENT)):  # noqa: S301 (our own)
        assert again == SENT
        assert again.curl() == SENT.curl()


def test_no_form_of_it_shows_a_secret() -> None:
    for sent in (SENT, copy.copy(SENT), copy.deepcopy(SENT), pickle.loads(pickle.dumps(SENT))):  # noqa: S301 (our own)
        shown = [repr(sent), str(sent), f"{sent}", sent.curl(), sent.url, sent.headers, vars_of(sent), [sent]]
        shown += [dataclasses.asdict(sent), dataclasses.astuple(sent), pickle.dumps(sent), sent.data]
        for text_ in map(str, shown):
            assert not any(secret in text_ for secret in SECRETS)


def vars_of(request: HttpRequest) -> list[object]:
    """All that can be reached from a request: also what the function holds that makes the body."""
    names: tuple[str, ...] = getattr(request.encode, "__slots__", ())
    held = [getattr(request.encode, name) for name in names]
    return [getattr(request, field.name) for field in dataclasses.fields(request)] + held


async def test_a_reply_holds_no_body_and_no_client() -> None:
    with serving(text("Hi.")) as endpoint:
        client = client_at(endpoint.url)
        reply = await client.complete(REQUEST)
    assert reply.sent is not None
    held = vars_of(reply.sent)
    assert any(value is REQUEST for value in held)
    assert client not in held
    assert not any(isinstance(value, bytes) for value in held)
    assert "sent" not in repr(reply)
    assert dataclasses.replace(reply, sent=None) == reply
    assert pickle.loads(pickle.dumps(reply)).sent == reply.sent  # noqa: S301 (our own)
    for form in (repr(reply), dataclasses.asdict(reply), pickle.dumps(reply)):
        assert "canary" not in str(form)


async def failed(endpoint: Endpoint) -> EndpointError:
    with pytest.raises(EndpointError) as caught:
        await client_at(endpoint.url).complete(REQUEST)
    return caught.value


async def test_an_error_tells_what_was_sent() -> None:
    said = json.dumps({"error": {"message": f"Bad {KEY} {HEADER} {QUERY}"}}).encode()
    with serving(Raw([said], 400)) as endpoint:
        error = await failed(endpoint)
    assert error.sent is not None
    assert parsed(error.sent.curl())[2] == endpoint.bodies[0]
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    assert again.sent == error.sent
    assert not any(secret in f"{error!r} {vars(error)} {pickle.dumps(error)!r}" for secret in SECRETS)


def test_what_cannot_be_sent_is_told_at_once() -> None:
    client = ChatClient("m", base_url="http://a.example/v1", profile=Profile(most_tools=0))
    with pytest.raises(InvalidRequest, match="tools"):
        client.sends(REQUEST)
