"""Targets: what agent a command is for.

    weather.py                the variable `agent` of a file, or the only agent in it
    weather.py:helper         another variable of it
    shop.agents:helper        a variable of a module
    local                     no tools; the small model inside the process, or `local:path/to/model.gguf`
    gpt-5                     no tools; a model at the endpoint of the environment

What a variable has is an agent, or a function without arguments that gives one: it may be async, or an async context
manager, such as one that opens an MCP server.
"""

import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import isawaitable, signature
from pathlib import Path
from traceback import extract_tb
from types import ModuleType, NoneType
from typing import Any, TypeAlias, TypeGuard, cast

from agentkit.agent.agent import Agent
from agentkit.core.errors import AgentkitError, ConfigurationError
from agentkit.models.client.chat_client import ChatClient

AnyAgent: TypeAlias = Agent[Any, Any]

_FILE = re.compile(r"(?P<file>.+\.py)(?::(?P<name>\w+))?")
_MODULE = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")
_USUAL = "agent"


@dataclass(frozen=True, slots=True)
class Target:
    """What agent a command is for.

    Attributes:
        text: The target as it was given.
        model: Another model than the agent's own.
        base_url: Another endpoint than that of the environment.
    """

    text: str
    model: str | None = None
    base_url: str | None = None

    @asynccontextmanager
    async def opened(self, *, keep: bool = True) -> AsyncGenerator[AnyAgent]:
        """Give the agent; what it has open is closed at the end of the block. What its code prints goes to stderr.

        Args:
            keep: Whether the agent is used in the block only; if not, it may have nothing open.

        Raises:
            ConfigurationError: If there is none; the text says what to do.
        """
        if self.base_url is not None:
            os.environ["AGENTKIT_BASE_URL"] = self.base_url  # also for what the agent is made with
        async with AsyncExitStack() as stack:
            with redirect_stdout(sys.stderr):
                agent = await self._found(stack if keep else None)
            wanted: type = agent.plan.deps_type
            if wanted is not NoneType:
                raise ConfigurationError(
                    f"the tools of {self.text} ask for a {wanted.__name__} (deps_type), and a command has none to "
                    "give: have them depend on a function that makes it, Depends(…)"
                )
            yield agent

    @property
    def short(self) -> str:
        """A name for the agent: that of its variable, or of its file."""
        match = _FILE.fullmatch(self.text)
        where, name = (Path(match["file"]).stem, match["name"]) if match else self.text.rpartition(":")[::2]
        return name if name and name != _USUAL else where or self.text

    async def _found(self, stack: AsyncExitStack | None) -> AnyAgent:
        found = _variable(self.text)
        if found is None:
            return Agent(self._model(None if _is_local(self.text) else self.text) or self.text)
        agent = await _agent_of(found, self.text, stack)
        model = self._model(agent.plan.model.name)
        return agent if model is None else agent.with_model(model)

    def _model(self, own: str | None) -> str | ChatClient | None:
        """Give the model that is asked instead of the agent's own, if one is."""
        if self.base_url is None:
            return self.model
        name = self.model or own
        if name is None:
            raise ConfigurationError(f"--base-url needs the name of a model there: agentkit … {self.text} --model NAME")
        return ChatClient(name, base_url=self.base_url)


def _is_local(text: str) -> bool:
    return text == "local" or text.startswith("local:")


def _variable(text: str) -> object | None:
    """Give what a target names in a file or a module; `None` if it is a model's name."""
    if _is_local(text):
        return None
    if match := _FILE.fullmatch(text):
        module = _loaded(Path(match["file"]))
        return _attribute(module, match["name"], text) if match["name"] else _usual(module, text)
    if match := _MODULE.fullmatch(text):
        return _attribute(_imported(match["module"], text), match["name"], text)
    near = Path(text.replace(".", "/") + ".py")
    if not text or Path(text).exists() or near.is_file():
        wanted = near if near.is_file() else "agent.py"
        raise ConfigurationError(f"{text!r} is no Python file; a target is {wanted}, {wanted}:agent, or a model's name")
    return None


def _loaded(path: Path) -> ModuleType:
    """Import a file under its own name, with its folder on the path, as modules beside it are found so."""
    path = path.resolve()
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    known = sys.modules.get(path.stem)
    if known is not None:
        if getattr(known, "__file__", None) == str(path):
            return known
        raise ConfigurationError(f"{path.name} has the name of a module that is in use, {path.stem}; give it another")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} cannot be imported")
    module = sys.modules[path.stem] = module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[path.stem]
        raise _not_loaded(str(path), error) from error
    return module


def _imported(name: str, text: str) -> ModuleType:
    """Import a module; those of the current folder are found too."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _not_loaded(name, error) from error
        raise ConfigurationError(
            f"there is no module {name}; a target is file.py, file.py:agent or package.module:agent. For a model of "
            f"that name: local --model {text}"
        ) from error
    except BaseException as error:
        raise _not_loaded(name, error) from error


def _not_loaded(what: str, error: BaseException) -> BaseException:
    """Give the error that tells why a module could not be imported."""
    if isinstance(error, KeyboardInterrupt):
        return error
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, SystemExit):
        said += ', it ends the program when it is imported; put that under if __name__ == "__main__":'
    at = (
        error.lineno
        if isinstance(error, SyntaxError)
        else next((each.lineno for each in reversed(extract_tb(error.__traceback__)) if each.filename == what), None)
    )
    where = f"{what}, line {at}," if at else what
    hint = "" if isinstance(error, AgentkitError) else " (--traceback shows all of it)"
    return ConfigurationError(f"{where} cannot be imported: {said}{hint}")


def _attribute(module: ModuleType, name: str, text: str) -> object:
    try:
        return cast("object", getattr(module, name))
    except AttributeError:
        raise ConfigurationError(f"{text}: there is no {name}; {_choice(module)}") from None


def _usual(module: ModuleType, text: str) -> object:
    """Give the variable `agent`, or the only agent there is."""
    if hasattr(module, _USUAL):
        return cast("object", getattr(module, _USUAL))
    agents = _agents_in(module)
    if len({id(each) for each in agents.values()}) == 1:
        return next(iter(agents.values()))
    raise ConfigurationError(f"{text}: there is no variable `agent`; {_choice(module)}")


def _agents_in(module: ModuleType) -> dict[str, AnyAgent]:
    return {name: value for name, value in vars(module).items() if _is_agent(value)}


def _choice(module: ModuleType) -> str:
    """Say which agents a module has."""
    agents = sorted(_agents_in(module))
    if not agents:
        return "it has no agents: make one, agent = Agent(…)"
    return f"its agents are {', '.join(agents)}: say which, as in {Path(module.__file__ or '').name}:{agents[0]}"


def _is_agent(value: object) -> TypeGuard[AnyAgent]:
    return isinstance(value, Agent)


async def _agent_of(found: object, text: str, stack: AsyncExitStack | None) -> AnyAgent:
    """Give the agent, or that which a function gives."""
    if not _is_agent(found) and callable(found):
        try:
            signature(found).bind()
        except TypeError as error:
            raise ConfigurationError(f"{text} cannot be called without arguments: {error}") from None
        made: Any = found()
        if isawaitable(made):
            found = await made
        elif isinstance(made, AbstractAsyncContextManager):
            if stack is None:
                raise ConfigurationError(
                    f"{text} has something open as long as it is used (an async context manager); that cannot be served"
                )
            found = await stack.enter_async_context(cast("AbstractAsyncContextManager[object]", made))
        else:
            found = made
    if not _is_agent(found):
        raise ConfigurationError(f"{text} is a {type(found).__name__}, not an agent or a function that gives one")
    return found
