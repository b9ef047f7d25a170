"""The pytest plugin, in sessions of its own."""

import sys
from pathlib import Path

import pytest

import agentkit_pytest
from agentkit import ChatClient
from agentkit.models import local

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
"""

AWAY = """
import httpx
import pytest

from agentkit import Agent, ChatClient, ConnectionFailed, UserMessage
from agentkit.testing import Raw, UnexpectedRequest, answer

def ask(url, **options):
    return Agent(ChatClient("m", base_url=url, api_key="sk-secret", retries=0, timeout=60, **options)).run_sync("Hello")

"""


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")
    return pytester


@pytest.mark.agentkit_allow_network  # the session of its own has a guard of its own
def test_no_model_request_leaves_the_machine(session: pytest.Pytester) -> None:
    session.makepyfile(
        AWAY
        + """
@pytest.mark.parametrize("url", ["https://api.nowhere.invalid/v1?code=query-secret", "http://192.0.2.1/v1"])
def test_away(url):
    ask(url)

@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "my.localhost:9", "[::1]:9", "0.0.0.0:9"])
def test_near(host):
    with pytest.raises(ConnectionFailed):
        ask(f"http://{host}/v1")

@pytest.mark.agentkit_allow_network
def test_allowed():
    with pytest.raises(ConnectionFailed):
        ask("http://255.255.255.255:9/v1")

def test_not_allowed_any_more():
    with pytest.raises(UnexpectedRequest, match="::test_not_allowed_any_more asked ChatClient"):
        ask("https://nowhere.invalid/v1")

def replies(request):
    return httpx.Response(200, content=answer("It rains.").raw({}).writes[0])

def test_a_transport_of_the_tests_own():
    http = httpx.AsyncClient(transport=httpx.MockTransport(replies))
    assert ask("https://nowhere.invalid/v1", http=http).output == "It rains."

def test_a_client_of_the_tests_own():
    with pytest.raises(UnexpectedRequest):
        ask("https://nowhere.invalid/v1", http=httpx.AsyncClient())

def test_http_that_is_patched(monkeypatch):
    async def send(self, request):
        return replies(request)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", send)
    assert ask("https://nowhere.invalid/v1", http=httpx.AsyncClient()).output == "It rains."
"""
    )
    result = session.runpytest_inprocess("-q")
    result.assert_outcomes(passed=10, failed=2)
    text = result.stdout.str()
    asked = "*UnexpectedRequest: *::test_away[[]http://192.0.2.1/v1[]] asked ChatClient('m', base_url='http://192.0.2.1/v1'), "
    result.stdout.fnmatch_lines([f"{asked}*--agentkit-record=new; *@pytest.mark.agentkit_allow_network"])
    assert "base_url='https://api.nowhere.invalid/v1')" in text
    assert "sk-secret'), and" not in text


def test_a_client_that_is_imported_in_a_test_is_guarded_too(session: pytest.Pytester) -> None:
    session.makepyfile(
        """
        import sys

        def test_nothing_is_imported_before_it_is_used():
            assert not [name for name in sys.modules if name.split(".")[0] in ("agentkit", "httpx", "pydantic", "anyio_")]

        def test_guarded():
            import agentkit
            agentkit.Agent(agentkit.ChatClient("m", base_url="https://nowhere.invalid/v1", api_key="")).run_sync("Hello")
        """
    )
    result = session.runpytest_subprocess("-q", "-p", "no:anyio", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*UnexpectedRequest: *::test_guarded asked *"])


def test_code_outside_of_tests_is_guarded_and_named(session: pytest.Pytester) -> None:
    session.makepyfile(AWAY + "ask('https://nowhere.invalid/v1')")
    result = session.runpytest_inprocess("-q")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UnexpectedRequest: code outside of a test asked *"])


def test_after_the_session_nothing_is_left() -> None:
    complete, finders = ChatClient.complete, list(sys.meta_path)
    guard = agentkit_pytest.Guard(recording=False)
    guard.begin()
    assert ChatClient.complete is not complete
    guard.end()
    assert (ChatClient.complete, sys.meta_path) == (complete, finders)


def test_scripts_are_played_to_their_end(session: pytest.Pytester) -> None:
    session.makeconftest(CONFTEST)
    session.makepyfile(
        """
        import pytest
        from agentkit import Agent

        @pytest.mark.anyio
        async def test_all_of_it(scripted):
            assert (await Agent(scripted("It rains.")).run("Hello")).output == "It rains."

        def test_less(scripted):
            scripted("It rains.")

        def test_less_of_a_test_that_fails(scripted):
            scripted("It rains.")
            assert False

        def test_repeated(scripted):
            model = scripted("It rains.", repeat=True, name="mine")
            assert [Agent(model).run_sync("Hello").output for _ in range(3)] == ["It rains."] * 3
        """
    )
    result = session.runpytest_inprocess("-q")
    result.assert_outcomes(passed=4, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: scripted has 1 replies and got 0 requests; unused: 'It rains.'"])


def test_endpoints_end_with_the_test(session: pytest.Pytester) -> None:
    session.makepyfile(
        """
        import pytest
        from agentkit import Agent, ChatClient, ConnectionFailed, Retries
        from agentkit.testing import answer, status

        urls = []

        def test_two(endpoint):
            for text in ("one", "two"):
                served = endpoint(answer(text), faults={1: status(503)})
                client = ChatClient("m", base_url=served.url, api_key="", retries=Retries(base=0.001))
                assert Agent(client).run_sync("Hello").output == text
                assert len(served.requests) == 2
                urls.append(served.url)

        @pytest.mark.parametrize("at", [0, 1])
        def test_ended(at):
            with pytest.raises(ConnectionFailed):
                Agent(ChatClient("m", base_url=urls[at], api_key="", retries=0)).run_sync("Hello")
        """
    )
    session.runpytest_inprocess("-q").assert_outcomes(passed=3)


CASSETTES = """
import pytest
from agentkit import Agent
from agentkit.testing import FunctionModel

asked = []

def model():
    asked.append(1)
    return FunctionModel(lambda request: "It rains.")

@pytest.mark.anyio
@pytest.mark.parametrize("city", ["Paris", "a/b"])
async def test_rain(cassette, city):
    assert (await Agent(cassette(model)).run(f"Rain in {city}?")).output == "It rains."

class TestMore:
    def test_two(self, cassette):
        for name in ("", "critic"):
            assert Agent(cassette(model, name)).run_sync("Hello").output == "It rains."
        with pytest.raises(pytest.UsageError, match="::test_two has this cassette already"):
            cassette(model)

def test_asked():
    print("asked", len(asked))
"""


def test_cassettes_are_named_after_their_tests(session: pytest.Pytester) -> None:
    session.makeconftest(CONFTEST)
    file = session.makepyfile(CASSETTES)
    folder = session.path / "cassettes" / file.stem
    result = session.runpytest_inprocess("-q")
    result.assert_outcomes(failed=5, passed=1)
    missing = "*ConfigurationError: there is no cassette *test_rain-a_b.jsonl; record=*--agentkit-record=new*"
    result.stdout.fnmatch_lines([missing])
    names = {"TestMore-test_two-critic", "TestMore-test_two", "test_rain-Paris", "test_rain-a_b"}
    for option, asked in (("new", 4), ("none", 0), ("new", 0), ("all", 6)):
        result = session.runpytest_inprocess("-q", "-s", f"--agentkit-record={option}")
        result.assert_outcomes(passed=6)
        result.stdout.fnmatch_lines([f"*asked {asked}"])
        assert {file.stem for file in folder.iterdir()} == names


def test_a_request_that_is_missed_fails_the_test_whoever_took_the_error(session: pytest.Pytester) -> None:
    text = """
from agentkit import Agent
from agentkit.testing import Scripted, calling

def test_taken(cassette):
    inner = Agent(cassette(lambda: Scripted("yes", repeat=True)), name="inner")

    def ask() -> str:
        return inner.run_sync("QUESTION").output

    assert Agent(Scripted(calling(("ask", {})), "done"), tools=[ask]).run_sync("Go on.").output == "done"
"""
    session.makepyfile(text)
    session.runpytest_inprocess("-q", "--agentkit-record=new").assert_outcomes(passed=1)
    session.makepyfile(text.replace("QUESTION", "another"))
    result = session.runpytest_inprocess("-q")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['*+    "content": "another",'])


@pytest.mark.agentkit_allow_network  # the session of its own has a guard of its own
def test_to_record_a_request_may_leave_the_machine(session: pytest.Pytester) -> None:
    session.makepyfile(
        AWAY
        + """
def test_recorded(cassette):
    client = ChatClient("m", base_url="http://255.255.255.255:9/v1", api_key="", retries=0)
    with pytest.raises(ConnectionFailed):
        Agent(cassette(client)).run_sync("Hello")

def test_other():
    with pytest.raises(UnexpectedRequest):
        ask("https://nowhere.invalid/v1")
"""
    )
    session.runpytest_inprocess("-q", "--agentkit-record=new").assert_outcomes(passed=2)
    session.runpytest_inprocess("-q").assert_outcomes(passed=2)  # the failure was recorded


def test_cassettes_in_another_process(session: pytest.Pytester) -> None:
    file = session.makepyfile(CASSETTES)
    session.runpytest_inprocess("-q", "-n1", "--agentkit-record=new", "-k", "TestMore").assert_outcomes(passed=1)
    assert len(list((session.path / "cassettes" / file.stem).iterdir())) == 2


@pytest.mark.local
def test_the_example_needs_no_model_once_recorded(session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(agentkit_pytest.__file__).parent / "examples" / "tested_bot.py"
    session.makepyfile(test_bot=example.read_text())
    session.runpytest_inprocess("-q", "--agentkit-record=new").assert_outcomes(passed=5)
    (cassette,) = (session.path / "cassettes" / "test_bot").iterdir()
    assert cassette.name == "test_a_real_model_finds_the_city.jsonl"
    monkeypatch.setattr(local, "_server_for", None)
    session.runpytest_inprocess("-q").assert_outcomes(passed=5)


@pytest.mark.parametrize(("option", "line"), [
    ("--help", "*--agentkit-record=[{]none,new,all[}]*"), ("--fixtures", "cassette*"),
    ("--markers", "@pytest.mark.agentkit_allow_network: model requests of this test may leave the machine"),
])  # fmt: skip
def test_the_option_and_the_marker_are_documented(session: pytest.Pytester, option: str, line: str) -> None:
    session.runpytest_inprocess(option).stdout.fnmatch_lines([line])
