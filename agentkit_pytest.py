"""The pytest plugin of agentkit, as pytest loads it: fixtures, and a guard that keeps model requests on this machine.

It stands beside the package and not in it, so that pytest starts without agentkit; that is imported where a test needs
it, and what measures coverage has begun by then.
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
_LONGEST_NAME = 150


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("agentkit").addoption(
        "--agentkit-record",
        choices=("none", "new", "all"),
        default="none",
        help="what the fixture `cassette` records: nothing, what its files do not have, or everything anew",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let no model request leave this machine from now on."""
    config.addinivalue_line("markers", f"{MARK}: model requests of this test may leave the machine")
    guard = Guard(recording=config.getoption("--agentkit-record") != "none")
    config.pluginmanager.register(guard, "agentkit-guard")
    config.add_cleanup(guard.end)
    guard.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test passed: of one that failed, what it left undone is no news."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Generator[Callable[..., Any]]:
    """Make models that play a script, `agentkit.testing.Scripted`; after the test each must be at its end."""
    testing = import_module("agentkit.testing")
    made: list[Any] = []

    def make(*replies: Any, **options: Any) -> Any:
        made.append(testing.Scripted(*replies, **options))
        return made[-1]

    yield make
    if request.node.stash.get(_PASSED, False):
        for each in made:
            each.assert_complete()


@pytest.fixture
def endpoint() -> Generator[Callable[..., Any]]:
    """Start fake endpoints, `agentkit.testing.chaos`, that end with the test."""
    testing = import_module("agentkit.testing")
    with ExitStack() as stack:
        yield lambda *replies, **options: stack.enter_context(testing.chaos(*replies, **options))


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Generator[Callable[..., Any]]:
    """Make models that play recordings, `agentkit.testing.Cassette`, from files named after the test."""
    testing = import_module("agentkit.testing")
    made: dict[str, Any] = {}

    def make(model: Any, name: str = "") -> Any:
        if name in made:
            raise pytest.UsageError(f"{request.node.nodeid} has this cassette already; give each a name of its own")
        path = _path(request.node, name)
        made[name] = testing.Cassette(model, path, record=request.config.getoption("--agentkit-record"))
        return made[name]

    yield make
    missed = [each for one in made.values() for each in one.missed]
    if missed and request.node.stash.get(_PASSED, False):  # a tool, or a wrapper, has taken it for an error of its own
        raise missed[0]


def _path(item: pytest.Function, name: str) -> Path:
    """Name a cassette after its test. It is the same on every event loop."""
    words = [item.cls.__name__ if item.cls else "", item.originalname]
    callspec: Any = getattr(item, "callspec", None)
    if callspec is not None:
        is_async = "anyio_backend" in callspec.params
        parts: Sequence[str] = callspec.id.split("-")
        words += [each for each in parts if not (is_async and each.startswith(("asyncio", "trio")))]
    whole = "-".join(filter(None, [*words, name]))
    file = re.sub(r"[^\w.=-]+", "_", whole)[:_LONGEST_NAME]
    return item.path.parent / "cassettes" / item.path.stem / f"{file}.jsonl"


class Guard:
    """Stops model requests to other machines, from the moment on when agentkit's client is imported."""

    def __init__(self, *, recording: bool) -> None:
        self.recording = recording
        self.test = "code outside of a test"
        self.allowed = False
        self.sends: object = None
        self.undo: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Guard the client, or wait for it."""
        if _CLIENT in sys.modules:
            self.close(sys.modules[_CLIENT])
        else:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Guard it no more."""
        self.undo()
        with suppress(ValueError):
            sys.meta_path.remove(self)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Know which test runs, and what it may."""
        outside = self.test, self.allowed
        records = self.recording and "cassette" in getattr(item, "fixturenames", ())
        self.test, self.allowed = item.nodeid, records or item.get_closest_marker(MARK) is not None
        try:
            return (yield)
        finally:
            self.test, self.allowed = outside

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        """Find the client for the import system, so that it is guarded as soon as it is there."""
        if name != _CLIENT:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.close(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def close(self, module: ModuleType) -> None:
        """Have each request of the client looked at first."""
        client: Any = module.ChatClient
        complete = client.complete
        self.sends = _sends()

        @wraps(complete)
        async def guarded(model: Any, request: Any, on_chunk: Any = None) -> Any:
            self.check(model)
            return await complete(model, request, on_chunk)

        client.complete = guarded
        self.undo = lambda: setattr(client, "complete", complete)

    def check(self, model: Any) -> None:
        """Stop a request that would leave this machine."""
        if self.allowed or _is_near(urlsplit(str(model.base_url)).hostname or ""):
            return
        if _is_own(getattr(model, "_http", None)) or _sends() is not self.sends:
            return
        raise import_module("agentkit.testing").UnexpectedRequest(
            f"{self.test} asked {model!r}, and no model request leaves this machine in tests. Play the replies, with "
            "the fixtures scripted, endpoint or cassette; record them with cassette and --agentkit-record=new; or "
            f"allow it: @pytest.mark.{MARK}"
        )


def _is_near(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_own(http: object) -> bool:
    """Tell whether an HTTP client of a caller's has a transport of the caller's, such as a mock."""
    kinds = {each.__name__ for each in type(getattr(http, "_transport", None)).__mro__}
    return http is not None and "AsyncHTTPTransport" not in kinds


def _sends() -> object:
    """Give what sends a request; a library that mocks HTTP puts something else there."""
    return sys.modules["httpx"].AsyncHTTPTransport.handle_async_request
