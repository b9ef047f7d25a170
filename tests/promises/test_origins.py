"""What is sent goes to the address that was set, and nowhere else."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from agentkit import Agent, ChatClient, EndpointError
from agentkit.testing import answer, chaos, status
from tests.clients import KEY
from tests.promises.scenario import finish
from tests.promises.test_secrets import HEADER

pytestmark = pytest.mark.anyio

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
CODES = (301, 302, 303, 307, 308)
FORM = pytest.mark.parametrize("form", ["plain", "streamed"])


async def ask(url: str, form: str, http: httpx.AsyncClient | None = None, key: str = KEY) -> str:
    client = ChatClient("m", base_url=url, api_key=key, headers={"x-api-key": HEADER}, retries=2, http=http)
    return (await finish(Agent(client), form, "what only the endpoint may read")).output


@FORM
@pytest.mark.parametrize("follows", [False, True], ids=["own connections", "a client that follows redirects"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""], ids=["other port", "other host", "same origin"])
async def test_no_redirect_is_followed(host: str, follows: bool, form: str) -> None:
    with chaos(answer("stolen")) as other:
        there = other.url.replace("127.0.0.1", host) + "/chat/completions" if host else "/v1/elsewhere"
        with chaos(*[status(code, {"location": there}) for code in CODES]) as endpoint:
            async with httpx.AsyncClient(follow_redirects=True) as http:
                for number, code in enumerate(CODES, 1):
                    with pytest.raises(EndpointError) as caught:
                        await ask(endpoint.url, form, http if follows else None)
                    assert (caught.value.status, len(endpoint.requests)) == (code, number)
                    assert there in str(caught.value)
        assert (other.connections, other.requests) == (0, [])


@FORM
async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    with chaos(answer("by the proxy")) as proxy, chaos(answer("directly")) as endpoint:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with httpx.AsyncClient() as client:  # the proxy would be used by one who looks for it
            await client.post(f"{endpoint.url}/chat/completions", json={})
        assert (len(proxy.requests) + proxy.connections, endpoint.connections) == (1, 0)
        assert await ask(endpoint.url, form) == "directly"
        assert proxy.connections == 1


@FORM
async def test_no_password_of_a_netrc_file_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str) -> None:
    with chaos(answer("done")) as endpoint:
        file = tmp_path / "netrc"
        file.write_text(f"machine {urlsplit(endpoint.url).hostname} login canary password canary-netrc\n")
        file.chmod(0o600)
        monkeypatch.setenv("NETRC", str(file))
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".netrc").write_text(file.read_text())
        await ask(endpoint.url, form, key="")
        await ask(endpoint.url, form)
    assert [headers.get("authorization") for headers in endpoint.headers] == [None, f"Bearer {KEY}"]


async def test_a_key_for_one_address_is_not_sent_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with chaos(answer("done")) as endpoint, chaos(answer("done")) as beside:
        monkeypatch.setenv("OPENAI_BASE_URL", beside.url)
        for url in (endpoint.url, beside.url):
            await Agent(ChatClient("m", base_url=url)).run("Hello")
    assert [headers.get("authorization") for headers in (*endpoint.headers, *beside.headers)] == [None, f"Bearer {KEY}"]
