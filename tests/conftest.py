import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import coverage
import hypothesis
import pytest

from tests.browser import EXECUTABLE

# Loaded here because trio registers its random generator with hypothesis, which warns if it is loaded at the very end.
hypothesis.settings.register_profile(
    "patient",
    max_examples=int(os.environ.get("AGENTKIT_LAWS", "25")),
    deadline=None,  # a law is not about time, and a machine may be busy
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")
# A program started in the background ignores SIGINT, and its children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The suite starts hundreds of processes. Without cached bytecode, each of them compiles all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Before it knows that a process is a worker, pytest-cov starts a measurement that nobody reads. It would go on wherever
# `no_cover` stops that of the worker, and hold every test up.
if "PYTEST_XDIST_WORKER" in os.environ and (unread := coverage.Coverage.current()):
    unread.stop()

# Nothing of what is imported and collected becomes garbage; `pytest_collection_finish` goes on.
gc.disable()

TESTS = Path(__file__).parent
# Nothing here speaks TLS, and each client that a test makes takes 40 ms to load the certificates of the world.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(TESTS)  # has no certificates
ACROSS = {
    "attack",
    "promises",
    "test_benchmarks.py",
    "test_docs.py",
    "test_examples.py",
    "test_examples_recipes.py",
    "testing/test_plugin.py",
    "tool_choice/test_disobedience.py",
    "tool_choice/test_runs.py",
}
"""Folders and files of tests that run agentkit as a whole."""
BACKENDS = {"core/test_concurrency.py", "runs/batch/test_batch.py", "runs/test_invoke.py", "server/test_app.py"}
"""Files with the tests of code for one backend alone."""
KEYS = ("AGENTKIT_BASE_URL", "AGENTKIT_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_KEY")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run named files in this process, and the whole suite in one more than there are processors: many tests wait."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return (os.cpu_count() or 1) + 1 if whole else 0


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Measure in one worker what is run while tests are collected: it is the same in all, and takes twice as long."""
    other = os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0"
    measurement = coverage.Coverage.current() if other else None
    if measurement is not None:
        measurement.stop()
    collected = yield
    if measurement is not None:
        measurement.start()
    return collected


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Measure coverage by the examples of each room alone: measured, a test takes twice as long.

    A line that only random examples or tests across rooms reach has no test of its own. What runs on both backends alike
    is measured on one.
    """
    for item in items:
        law = getattr(getattr(item, "function", None), "is_hypothesis_test", False)
        parameters: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
        place = item.path.relative_to(TESTS)
        again = parameters.get("anyio_backend") == "trio" and place.as_posix() not in BACKENDS
        if law or again or not ACROSS.isdisjoint({place.parts[0], place.as_posix()}):
            item.add_marker("no_cover")
    if EXECUTABLE is None:  # `.ci/run` installs a browser where it can
        left_out = [item for item in items if item.get_closest_marker("browser")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Exclude the objects that exist before the first test from every garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the endpoint and the key that the machine may have."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every async test on both, unless its file or folder says otherwise."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """Find in each file what its tests leave open: an open socket that is collected is a warning, so an error."""
    yield
    gc.collect()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
