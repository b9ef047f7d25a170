"""The pytest plugin of agentkit: fixtures, and a guard that keeps model requests on this machine.

It stands beside the package, so that pytest starts without importing agentkit. Fixtures import it when a test needs it,
so that coverage of it is measured.
"""

import re
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, suppress
from functools import wraps
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

MARK = "agentkit_allow_network"
_CLIENT = "agentkit.models.client.chat_client"
_PASSED = pytest.StashKey[bool]()
_MAX_NAME = 150


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("agentkit").addoption(
        "--agentkit-record",
        choices=("none", "new", "all"),
        default="none",
        help="what the fixture `cassette` records: nothing, missing requests, or everything again",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the guard: from now on, no model request leaves this machine."""
    config.addinivalue_line("markers", f"{MARK}: model requests of this test may leave the machine")
    guard = Guard(recording=config.getoption("--agentkit-record") != "none")
    config.pluginmanager.register(guard, "agentkit-guard")
    config.add_cleanup(guard.end)
    guard.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test passed; the fixtures do not add an error to a test that failed."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Generator[Callable[..., Any]]:
    """Make models that play a script, `agentkit.testing.Scripted`; the test must use all replies."""
    testing = import_module("agentkit.testing")
    models: list[Any] = []

    def make(*replies: Any, **options: Any) -> Any:
        models.append(testing.Scripted(*replies, **options))
        return models[-1]

    yield make
    if request.node.stash.get(_PASSED, False):
        for model in models:
            model.assert_complete()


@pytest.fixture
def endpoint() -> Generator[Callable[..., Any]]:
    """Start fake endpoints, `agentkit.testing.chaos`; they stop with the test."""
    testing = import_module("agentkit.testing")
    with ExitStack() as stack:
        yield lambda *replies, **options: stack.enter_context(testing.chaos(*replies, **options))


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Generator[Callable[..., Any]]:
    """Make models that replay recordings, `agentkit.testing.Cassette`, from files named after the test."""
    testing = import_module("agentkit.testing")
    cassettes: dict[str, Any] = {}

    def make(model: Any, name: str = "") -> Any:
        if name in cassettes:
            raise pytest.UsageError(
                f"{request.node.nodeid} has this cassette already; name it: cassette(model, 'other')"
            )
        path = _cassette_path(request.node, name)
        cassettes[name] = testing.Cassette(model, path, record=request.config.getoption("--agentkit-record"))
        return cassettes[name]

    yield make
    missed = [error for one in cassettes.values() for error in one.missed]
    if missed and request.node.stash.get(_PASSED, False):  # a tool or a wrapper caught the error
        raise missed[0]


def _cassette_path(item: pytest.Function, name: str) -> Path:
    """Return the file of a cassette, named after the test; all event loops share it."""
    words = [item.cls.__name__ if item.cls else "", item.originalname]
    callspec: Any = getattr(item, "callspec", None)
    if callspec is not None:
        is_async = "anyio_backend" in callspec.params
        parts: Sequence[str] = callspec.id.split("-")
        words += [part for part in parts if not (is_async and part.startswith(("asyncio", "trio")))]
    whole = "-".join(filter(None, [*words, name]))
    file = re.sub(r"[^\w.=-]+", "_", whole)[:_MAX_NAME]
    return item.path.parent / "cassettes" / item.path.stem / f"{file}.jsonl"


class Guard:
    """Stops model requests to other machines, as soon as agentkit's client is imported."""

    def __init__(self, *, recording: bool) -> None:
        self.recording = recording
        self.test = "code outside of a test"
        self.allowed = False
        self.undo: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Guard the client now, or when it is imported."""
        if _CLIENT in sys.modules:
            self.patch(sys.modules[_CLIENT])
        else:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        self.undo()
        with suppress(ValueError):
            sys.meta_path.remove(self)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note which test runs, and whether its requests may leave."""
        outside = self.test, self.allowed
        records = self.recording and "cassette" in getattr(item, "fixturenames", ())
        self.test, self.allowed = item.nodeid, records or item.get_closest_marker(MARK) is not None
        try:
            return (yield)
        finally:
            self.test, self.allowed = outside

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        """Find the client module for the import system, to patch it when it is loaded."""
        if name != _CLIENT:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.patch(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def patch(self, module: ModuleType) -> None:
        """Check each request of the client first."""
        client: Any = module.ChatClient
        complete = client.complete

        @wraps(complete)
        async def guarded(model: Any, request: Any, on_chunk: Any = None) -> Any:
            self.check(model)
            return await complete(model, request, on_chunk)

        client.complete = guarded
        self.undo = lambda: setattr(client, "complete", complete)

    def check(self, model: Any) -> None:
        """Raise an error if the request would leave this machine."""
        if self.allowed or _is_local_host(urlsplit(str(model.base_url)).hostname or ""):
            return
        http = getattr(model, "_http", None)
        if http is not None and (_has_own_transport(http) or _is_mocked()):
            return
        raise import_module("agentkit.testing").UnexpectedRequest(
            f"{self.test} asked {model!r}, but model requests of tests stay on this machine. Use the fixture scripted, "
            "endpoint or cassette; record replies with cassette and --agentkit-record=new; or allow requests: "
            f"@pytest.mark.{MARK}"
        )


def _is_local_host(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _has_own_transport(http: object) -> bool:
    """Whether the caller's HTTP client has a transport of its own, such as a mock."""
    kinds = {kind.__name__ for kind in type(getattr(http, "_transport", None)).__mro__}
    return "AsyncHTTPTransport" not in kinds


def _is_mocked() -> bool:
    """Whether a library that mocks HTTP has replaced the function that sends the requests of httpx."""
    transport: Any = sys.modules["httpx"].AsyncHTTPTransport
    return bool(transport.handle_async_request.__module__ != transport.__aenter__.__module__)
