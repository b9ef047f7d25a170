import gc
import signal
from collections.abc import Iterator

import hypothesis
import pytest

# Loaded here because trio registers its random generator with hypothesis, which warns if it is loaded at the very end.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)  # a law is not about time, and a machine may be busy
hypothesis.settings.load_profile("patient")
# A program started in the background ignores SIGINT, and its children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

KEYS = ("AGENTKIT_BASE_URL", "AGENTKIT_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_KEY")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run the whole suite on all processors, and named files in this process."""
    return None if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_collection_finish() -> None:
    """Exclude the objects that exist before the first test from every garbage collection."""
    gc.collect()
    gc.freeze()


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
