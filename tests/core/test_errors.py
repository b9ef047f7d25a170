import ast
import copy
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

from agentkit import ContentFiltered, ContextTooLong, InvalidRequest, QuotaExceeded, RateLimited, RequestRefused
from agentkit.core import errors
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import (
    AgentkitError,
    IncompleteReply,
    LimitReached,
    MalformedReply,
    ModelTimeout,
    Partial,
    ReplyTooLarge,
)
from agentkit.core.messages import AssistantMessage, ToolCall, Usage, UserMessage

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, AgentkitError)]
DATA: dict[str, Any] = {
    "seconds": 1.5, "status": 429, "code": "busy", "body": "wait", "request_id": "r1", "retry_after": 2.0, "should_retry": False,
    "phase": "idle", "calls": (ToolCall("c0", "f", "{"),), "excerpt": "<html>", "text": "so far", "reply": AssistantMessage("no"),
    "errors": (), "kind": "RateLimited", "choice": ToolChoice("required"), "policy": "required", "limit": "steps", "allowed": 3.0,
    "tool": "search", "times": 6, "last": "ValueError: busy", "tools": ("search",),
}  # fmt: skip


def made(cls: type[AgentkitError]) -> AgentkitError:
    names = getattr(cls.__init__, "__annotations__", {}).keys() & DATA.keys()
    return cls("it did not work", **{name: DATA[name] for name in names})


def pickled(error: AgentkitError) -> AgentkitError:
    again: AgentkitError = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    return again


def drawn() -> dict[str, str]:
    """Read the tree in the module's docstring: each class and the one above it."""
    above: list[str] = []
    tree: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)(\w+)(?:  |$)", line):
            depth = len(found[1]) // 4
            tree[found[2]] = above[depth - 1] if depth else "Exception"
            above[depth:] = [found[2]]
    return tree


def test_the_tree_is_as_it_is_drawn() -> None:
    assert drawn() == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_every_error_is_described() -> None:
    for cls in CLASSES:
        assert cls.__doc__ != cls.__bases__[0].__doc__
        assert isinstance(ast.get_docstring(ast.parse(inspect.getsource(cls)).body[0]), str)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_an_error_is_copied_and_pickled() -> None:
    ways: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickled]
    for cls in CLASSES:
        for again in ways:
            error = made(cls)
            error.partial = Partial((UserMessage("Hi"),), Usage(1, 2, 3))
            error.add_note("a note")
            other = again(error)
            assert type(other) is cls
            assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
            assert str(error).startswith("it did not work")


def test_an_error_of_ones_own_is_pickled_too() -> None:
    other = pickle.loads(pickle.dumps(OwnError(code=5)))  # noqa: S301 (our own)
    assert (type(other), str(other), other.code) == (OwnError, "code 5", 5)


class OwnError(errors.ToolError):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


def test_an_error_has_no_partial_unless_a_run_ended_by_it() -> None:
    assert [made(cls).partial for cls in CLASSES] == [None] * len(CLASSES)


def test_what_an_error_holds() -> None:
    limit = LimitReached("3 steps", "steps", 3)
    assert (str(limit), limit.limit, limit.allowed) == ("3 steps", "steps", 3)
    busy = RateLimited("busy", status=429)
    assert (busy.status, busy.code, busy.body, busy.request_id, busy.retry_after) == (429, None, "", None, None)
    assert (busy.should_retry, busy.attempts, busy.text, busy.calls) == (None, 1, "", ())
    assert (str(IncompleteReply("cut", "Hel")), IncompleteReply("cut", "Hel").text) == ("cut", "Hel")
    assert (ContentFiltered("no", "How").text, ContentFiltered("no").calls) == ("How", ())
    call = ToolCall("c0", "f", '{"a')
    assert IncompleteReply("cut", calls=(call,)).calls == (call,)
    large = ReplyTooLarge("too large", "body", 5)
    assert (str(large), large.limit, large.allowed) == ("too large", "body", 5)
    slow = ModelTimeout("slow", 5.0)
    assert (slow.seconds, slow.phase, ModelTimeout("slow", 1.0, "first_byte").phase) == (5.0, "total", "first_byte")
    assert isinstance(ContextTooLong("long", status=400), RequestRefused)
    assert not isinstance(QuotaExceeded("paid", status=402), RateLimited)
    assert isinstance(InvalidRequest("no"), ValueError)


def test_an_excerpt_is_bounded() -> None:
    error = MalformedReply("not JSON", "x" * 5000)
    assert str(error) == f"not JSON: {'x' * 200!r}"
    assert error.excerpt == "x" * 2000
    assert str(MalformedReply("nothing")) == "nothing"
