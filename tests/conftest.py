import gc
import signal
from collections.abc import Iterator

import hypothesis
import pytest

# Also loaded because trio tells hypothesis of its randomness, and hypothesis warns if it is loaded at the very end.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)  # a law says nothing of time, and a machine may be busy
hypothesis.settings.load_profile("patient")
# What was started in the background has interruptions ignored, and its children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

KEYS = ("AGENTKIT_BASE_URL", "AGENTKIT_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_KEY")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """The whole suite takes all processors, as xdist counts them; what is named is tested in this process."""
    return None if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_collection_finish() -> None:
    """What is there before the first test is not looked through again whenever the garbage is collected."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees an endpoint or a key that the machine may have."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every async test runs on both."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """What a file's tests leave open is found with that file: a socket that is collected is a warning, so an error."""
    yield
    gc.collect()
