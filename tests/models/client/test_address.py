"""Addresses and keys; `test_chat_client` tests what is sent."""

from typing import Any

import pytest

from agentkit import ChatClient, ConfigurationError
from agentkit.models.client.address import find_endpoint, parse_address
from tests.clients import KEY, assert_hidden

OURS, THEIRS, OPENAI = "http://ours.test/v1", "http://theirs.test/v1", "https://api.openai.com/v1"


@pytest.mark.parametrize(("address", "url", "base"), [
    ("http://a.b", "http://a.b/chat/completions", "http://a.b"),
    ("http://a.b/v1/", "http://a.b/v1/chat/completions", "http://a.b/v1"),
    ("http://a.b/a/b//", "http://a.b/a/b/chat/completions", "http://a.b/a/b"),
    ("http://a.b/v1/chat/completions", "http://a.b/v1/chat/completions", "http://a.b/v1"),
    ("http://a.b/chat/completions/?key=secret", "http://a.b/chat/completions?key=secret", "http://a.b"),
    ("https://a.b:8443/@me", "https://a.b:8443/@me/chat/completions", "https://a.b:8443/@me"),
    ("http://[::1]/v1?key=secret", "http://[::1]/v1/chat/completions?key=secret", "http://[::1]/v1"),
    ("HTTPS://A.B:443/V1", "https://a.b/V1/chat/completions", "HTTPS://A.B:443/V1"),
    ("http://a.b:443/v1", "http://a.b:443/v1/chat/completions", "http://a.b:443/v1"),
    ("http://a.b/é /%2F?key=é<#part", "http://a.b/%C3%A9%20/%2F/chat/completions?key=%C3%A9%3C", "http://a.b/é /%2F"),
    ("http://faß.de", "http://xn--fa-hia.de/chat/completions", "http://faß.de"),
])  # fmt: skip
def test_where_requests_go_and_what_is_shown_of_it(address: str, url: str, base: str) -> None:
    parsed = parse_address(address)
    assert (str(parsed.url), parsed.base) == (url, base)
    assert "secret" not in parsed.masked


@pytest.mark.parametrize("name", ["base_url", "AGENTKIT_BASE_URL", "OPENAI_BASE_URL"])
@pytest.mark.parametrize(("address", "word"), [
    *[(odd, "https://host/v1") for odd in ("localhost:8080/v1", "a.b", "https://", "/v1", "http://a.b:-1", "http://a.b:0", "http://[::g]/", "http://a b", "http://☃.b")],
    ("ftp://a.b?key=hidden", "'ftp://a.b'"),
    ("a.b?key=hidden", "'a.b'"),
    ("http://a.b:99999?key=hidden", "'http://a.b:99999'"),
    ("http://a.b:x?key=hidden", "'http://a.b:x'"),
    ("http://a.b/\n", "not an address"),
    ("http://a.b:x/hidden@", "'…'"),
    *[(f"{begin}ann:hidden@a.b", "password") for begin in ("http://", "http:/", "", "//")],
    *[(f"http://ann:hid{mark}hidden@a.b", "'…'") for mark in "/?#"],
])  # fmt: skip
def test_an_odd_address_is_refused_and_its_secrets_are_hidden(
    address: str, word: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"api_key": KEY, "headers": {"X-Key": "own-secret"}}
    if name == "base_url":
        options["base_url"] = address
    else:
        monkeypatch.setenv(name, address)
    with pytest.raises(ConfigurationError) as caught:
        ChatClient("m", **options)
    assert word in str(caught.value)
    assert caught.value.__context__ is None
    assert_hidden(caught.value, "hid", "own-secret")


@pytest.mark.parametrize(("options", "word"), [
    ({}, "AGENTKIT_BASE_URL"),
    ({"api_key": KEY}, "AGENTKIT_BASE_URL"),
    ({"base_url": "http://a.b", "api_key": f"{KEY}\n{KEY}"}, "api_key"),
    ({"base_url": "http://a.b", "api_key": f"{KEY}é"}, "api_key"),
    ({"base_url": "http://a.b", "headers": {"X-Key": f"{KEY}\r\nx: y"}}, "x-key"),
    *[({"base_url": "http://a.b", "concurrency": odd}, "concurrency") for odd in (0, -1, 1.5, True)],
    ({"base_url": "http://a.b", "retries": -1}, "attempts"),
])  # fmt: skip
def test_a_client_that_cannot_work_is_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        ChatClient("m", **options)
    assert_hidden(caught.value)


AGENTKIT = {"AGENTKIT_BASE_URL": OURS, "AGENTKIT_API_KEY": "a"}


@pytest.mark.parametrize(("environment", "base_url", "api_key", "expected"), [
    (AGENTKIT, None, None, (OURS, "a")),
    (AGENTKIT | {"OPENAI_BASE_URL": THEIRS, "OPENAI_API_KEY": "o"}, None, None, (OURS, "a")),
    (AGENTKIT, THEIRS, "t", (THEIRS, "t")),
    (AGENTKIT, None, "t", (OURS, "t")),
    (AGENTKIT, None, "", (OURS, "")),
    (AGENTKIT, THEIRS, None, (THEIRS, "a")),
    ({"AGENTKIT_BASE_URL": OURS}, None, None, (OURS, "")),
    ({"AGENTKIT_BASE_URL": OURS, "OPENAI_API_KEY": "o"}, None, None, (OURS, "")),
    ({"OPENAI_BASE_URL": THEIRS, "OPENAI_API_KEY": "o"}, None, None, (THEIRS, "o")),
    ({"OPENAI_BASE_URL": THEIRS, "OPENAI_API_KEY": "o"}, OPENAI, None, (OPENAI, "o")),
    ({"OPENAI_API_KEY": "o"}, None, None, (OPENAI, "o")),
    ({"OPENAI_API_KEY": "o"}, OURS, None, (OURS, "")),
    ({}, OURS, None, (OURS, "")),
])  # fmt: skip
def test_a_key_goes_with_its_address(
    environment: dict[str, str], base_url: str | None, api_key: str | None, expected: tuple[str, str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        endpoint = find_endpoint(base_url, api_key)
    assert endpoint == expected
    assert api_key is not None or [repr(text) for text in endpoint] == ["'…'", "'…'"]
