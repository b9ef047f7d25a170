"""Targets: the agent that a command is for.

    weather.py                the variable `agent` of a file, or its only agent
    weather.py:helper         another variable of the file
    shop.agents:helper        a variable of a module
    openai:gpt-5              a model of a provider, without tools
    local                     the small model in this process, without tools; also `local:path/to/model.gguf`
    gpt-5                     a model of the endpoint in the environment, without tools

The variable is an agent, or a function without arguments that returns one. The function may be async, or an async
context manager, such as one that opens an MCP server.
"""

import os
import re
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    redirect_stdout,
)
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isawaitable, signature
from pathlib import Path
from traceback import extract_tb
from types import ModuleType, NoneType
from typing import Any, TypeAlias, TypeGuard, cast

from agentkit.agent.agent import Agent
from agentkit.agent.opened import OpensAgent
from agentkit.core.errors import AgentkitError, ConfigurationError
from agentkit.models.client.chat_client import ChatClient
from agentkit.models.client.providers import PROVIDERS, split_name

AnyAgent: TypeAlias = Agent[Any, Any]

UNNAMED = "agent"
"""The name of an agent that was given none."""

_FILE = re.compile(r"(?P<file>.+\.py)(?::(?P<name>\w+))?")
_MODULE = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")
_DEFAULT_VARIABLE = "agent"
_NO_ENDPOINT = "http://127.0.0.1:1/no-endpoint"  # where nobody answers


@dataclass(frozen=True, slots=True)
class Target:
    """A target as it was typed, with a model, an endpoint and a key to use in place of the agent's.

    A model without a file also takes a system prompt and settings.
    """

    text: str
    model: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    system: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    @asynccontextmanager
    async def opened(self, *, keep: bool = True, asked: bool = True) -> AsyncGenerator[AnyAgent]:
        """Load the agent; what it has open is closed at the end of the block. What its code prints goes to stderr.

        With `keep=False`, the agent is used after the block too, so `_IsOpened` is raised if it has to be opened. With
        `asked=False`, its model is not asked, so it needs no endpoint.
        """
        if self.base_url is not None:
            os.environ["AGENTKIT_BASE_URL"] = self.base_url  # also for models that the file makes
        if self.api_key is not None:
            os.environ["AGENTKIT_API_KEY"] = self.api_key
        async with AsyncExitStack() as stack:
            with redirect_stdout(sys.stderr):
                agent = await self._load(stack if keep else None, asked=asked)
            deps_type: type = agent.plan.deps_type
            if deps_type is not NoneType:
                raise ConfigurationError(
                    f"{self.text} needs dependencies of type {deps_type.__name__} (deps_type), which a command cannot "
                    "give; use Depends(function) in the tools instead"
                )
            yield agent

    @property
    def short(self) -> str:
        """A name for the agent: its variable, or its file."""
        match = _FILE.fullmatch(self.text)
        where, name = (Path(match["file"]).stem, match["name"]) if match else self.text.rpartition(":")[::2]
        return name if name and name != _DEFAULT_VARIABLE else where or self.text

    @property
    def place(self) -> str:
        """The file or the module of the agent."""
        match = _FILE.fullmatch(self.text)
        return match["file"] if match else self.text.partition(":")[0]

    async def _load(self, stack: AsyncExitStack | None, *, asked: bool) -> AnyAgent:
        with nullcontext() if asked and self.model is None else _without_endpoint():
            variable = _variable(self.text)
            agent = None if variable is None else await _agent_from(variable, self.text, stack)
        if agent is None:
            bare = self._replacement_model(None if _is_local(self.text) else self.text) or self.text
            return Agent(bare, instructions=self.system, settings=self.settings)
        if self.system is not None or self.settings:
            names = ["system"] * (self.system is not None) + [*self.settings]
            given = ", ".join([f"--{name.replace('_', '-')}" for name in names])
            raise ConfigurationError(f"{given}: only for the name of a model; {self.text} sets its own")
        model = self._replacement_model(agent.plan.model.name)
        return agent if model is None else agent.with_model(model)

    def _replacement_model(self, own: str | None) -> str | ChatClient | None:
        """Return the model of `--model`, `--base-url` and `--api-key`; `None` if none is given."""
        name = self.model or own or ""
        if self.base_url is None:
            bare, provider = split_name(name)
            if provider is None or self.api_key is None:
                return self.model  # the key is in the environment by now
            return ChatClient(bare, provider=provider, api_key=self.api_key)
        if not name:
            raise ConfigurationError(f"--base-url needs the name of a model there: agentkit … {self.text} --model NAME")
        return ChatClient(name, base_url=self.base_url)


async def load_agents(targets: Sequence[Target], names: Sequence[str]) -> list[AnyAgent | OpensAgent]:
    """Load agents that are used after this returns; of one that is an async context manager, the function to open it.

    Raises:
        ConfigurationError: Also if there are more names than targets.
    """
    if len(names) > len(targets):
        raise ConfigurationError(f"there are {len(names)} names for {len(targets)} agents; give --name once for each")
    loaded: list[AnyAgent | OpensAgent] = []
    for target in targets:
        try:
            async with target.opened(keep=False) as agent:
                loaded.append(agent)
        except _IsOpened:
            loaded.append(target.opened)
    return loaded


def value_at(text: str, name: str, advice: str = "") -> object:
    """Return a variable of a file or a module, `file.py:variable` or `module:variable`; `name` if none is named.

    Where it is missing, the error ends in the `advice`.

    Raises:
        ConfigurationError: If there is no such file, module or variable.
    """
    place, _, variable = text.partition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place, text)
    if not hasattr(module, variable or name):
        raise ConfigurationError(f"{text}: there is no variable {variable or name!r}{advice}")
    return cast("object", getattr(module, variable or name))


class _IsOpened(Exception):
    """The agent is an async context manager."""


@contextmanager
def _without_endpoint() -> Generator[None]:
    """Let a file name a model where no endpoint is set: nobody asks that model."""
    if any(map(os.environ.get, ("AGENTKIT_BASE_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"))):
        yield
        return
    os.environ["AGENTKIT_BASE_URL"] = _NO_ENDPOINT
    try:
        yield
    except ConfigurationError as error:
        if _NO_ENDPOINT not in str(error):
            raise
        text = 'its model is asked while the file is imported; put that under if __name__ == "__main__":'
        raise ConfigurationError(f"{str(error).partition(', cannot')[0]}: {text}") from error
    finally:
        if os.environ.get("AGENTKIT_BASE_URL") == _NO_ENDPOINT:  # the file may set one
            del os.environ["AGENTKIT_BASE_URL"]


def _is_local(text: str) -> bool:
    return text == "local" or text.startswith("local:")


def _variable(text: str) -> object | None:
    """Return what a target names in a file or a module; `None` if it is the name of a model."""
    if _is_local(text):
        return None
    if match := _FILE.fullmatch(text):
        module = _import_file(Path(match["file"]))
        return _attribute(module, match["name"], text) if match["name"] else _default_variable(module, text)
    match = _MODULE.fullmatch(text)
    if match and (match["module"] not in PROVIDERS or _is_here(match["module"])):
        return _attribute(_import_module(match["module"], text), match["name"], text)
    similar = Path(text.replace(".", "/") + ".py")
    if not text or Path(text).exists() or similar.is_file():
        example = similar if similar.is_file() else "agent.py"
        raise ConfigurationError(f"{text!r} is not a Python file; a target is {example}, {example}:agent, or a model")
    return None


def _is_here(module: str) -> bool:
    """Whether the current folder has a module; the package `openai` that is installed has no agent."""
    return Path(f"{module}.py").exists() or Path(module).exists()


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, with its folder on the path, so that it finds the modules beside it."""
    path = path.resolve()
    if not path.is_file():
        near = get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], 1)
        raise ConfigurationError(f"there is no file {path}" + (f"; did you mean {near[0]}?" if near else ""))
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        raise ConfigurationError(f"rename {path.name}: a module named {path.stem} is already imported")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} cannot be imported")
    module = sys.modules[path.stem] = module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[path.stem]
        raise _import_error(str(path), error) from error
    return module


def _import_module(name: str, text: str) -> ModuleType:
    """Import a module, also from the current folder."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_error(name, error) from error
        raise ConfigurationError(
            f"there is no module {name}; a target is file.py, file.py:agent or package.module:agent. For a model of "
            f"that name: local --model {text}"
        ) from error
    except BaseException as error:
        raise _import_error(name, error) from error


def _import_error(name: str, error: BaseException) -> BaseException:
    """Return an error that says where and why an import failed."""
    if isinstance(error, KeyboardInterrupt):
        return error
    reason = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, SystemExit):
        reason += ', the file ends the program; put that under if __name__ == "__main__":'
    frames = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == name]
    line = error.lineno if isinstance(error, SyntaxError) else next(reversed(frames), None)
    where = f"{name}, line {line}," if line else name
    hint = "" if isinstance(error, AgentkitError) else " (--traceback shows all of it)"
    return ConfigurationError(f"{where} cannot be imported: {reason}{hint}")


def _attribute(module: ModuleType, name: str, text: str) -> object:
    try:
        return cast("object", getattr(module, name))
    except AttributeError:
        raise ConfigurationError(f"{text}: there is no {name}; {_choices(module)}") from None


def _default_variable(module: ModuleType, text: str) -> object:
    if hasattr(module, _DEFAULT_VARIABLE):
        return cast("object", getattr(module, _DEFAULT_VARIABLE))
    agents = _agents_in(module)
    if len({id(agent) for agent in agents.values()}) == 1:
        return next(iter(agents.values()))
    raise ConfigurationError(f"{text}: there is no variable `agent`; {_choices(module)}")


def _agents_in(module: ModuleType) -> dict[str, AnyAgent]:
    return {name: value for name, value in vars(module).items() if _is_agent(value)}


def _choices(module: ModuleType) -> str:
    agents = sorted(_agents_in(module))
    if not agents:
        return "the file has no agent; make one: agent = Agent(…)"
    return f"its agents are {', '.join(agents)}; name one: {Path(module.__file__ or '').name}:{agents[0]}"


def _is_agent(value: object) -> TypeGuard[AnyAgent]:
    return isinstance(value, Agent)


async def _agent_from(value: object, text: str, stack: AsyncExitStack | None) -> AnyAgent:
    """Return the value if it is an agent, else call it and return its agent."""
    if not _is_agent(value) and callable(value):
        try:
            signature(value).bind()
        except TypeError as error:
            raise ConfigurationError(f"{text} must be a function without arguments: {error}") from None
        returned: Any = value()
        if isawaitable(returned):
            value = await returned
        elif isinstance(returned, AbstractAsyncContextManager):
            if stack is None:
                raise _IsOpened
            value = await stack.enter_async_context(cast("AbstractAsyncContextManager[object]", returned))
        else:
            value = returned
    if not _is_agent(value):
        kind = type(value).__name__
        raise ConfigurationError(f"{text} has a value of the type {kind}, not an agent or a function that returns one")
    return value
