"""Repetition: a model that makes the same call again and again gets a note, then the tool is withheld."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import field
from itertools import takewhile

from agentkit.core.checks import check_number
from agentkit.core.choice import AUTO, ToolChoice, Verdict, allow, deny
from agentkit.core.json import decode, encode, normalized, object_of
from agentkit.core.messages import ToolCall
from agentkit.core.state import Call, CallRecord, State
from agentkit.tool_choice.choices import as_json
from agentkit.tool_choice.policy import Policy
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

_LONGEST_CYCLE = 5
_FAILURES = 3


class no_repeat(Policy):
    """The same call, or the same cycle of 2 to 5 calls, runs n times in a row at most: `no_repeat(3)`.

    The result of the n-th carries a note. The same call once more is denied; the tool with other arguments is not. If
    the model then does nothing else, the tools of the cycle are withheld until it does. Two calls are the same if their
    names and arguments are equal, whatever the order of keys and the spelling of numbers.

    A call that failed in three replies in a row with the same error is withheld at once, however large n is: the next
    would fail too.

    A tool that may repeat is marked `@tool(repeatable=True)`. A tool whose calls differ by some arguments only names
    them: `@tool(repeat_key="order_id")`.

    Args:
        times: n, at least 1.

    Raises:
        ConfigurationError: If it is not a whole number of at least 1.
    """

    times: int
    _toolbox: Toolbox | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_number("no_repeat(times)", self.times, least=1, whole=True)

    def __call__(self, state: State) -> ToolChoice:
        _, repeated = self.repeated(state)
        return ToolChoice(withheld=frozenset([record.call.name for record in repeated])) if repeated else AUTO

    def repeated(self, state: State) -> tuple[int, tuple[CallRecord, ...]]:
        """Return how many times the last calls came in a row, and those that are withheld for it, if any."""
        count, period, withheld = self._standing(state.calls)
        return count, tuple(state.calls[-period:]) if withheld else ()

    def judge(self, call: Call, state: State) -> Verdict:
        ran = [record for record in state.calls[-self._reach :] if record.outcome != "refused"]
        made = [CallRecord(_written(earlier), "ok") for earlier in (*state.pending[-self._reach :], call)]
        count, period = self._repeats((*ran, *made))
        if count > len(made) and period == 1 and self._keeps_failing(ran):
            return deny(f"this same call failed {_FAILURES} times in a row with the same error; do something else")
        if count <= self.times:
            return allow
        what = "this same call" if period == 1 else f"this same cycle of {period} calls"
        return deny(f"{what} came {self.times} times in a row already; use what you have, or do something else")

    def memory(self, state: State) -> Hashable:
        """Return how often the calls at the end repeat, and their tools. The next call is taken for a new one."""
        count, period, withheld = self._standing(state.calls)
        names = [record.call.name for record in state.calls[-period:]]
        return (self.times + 1 if withheld else count, *names) if count > 1 else ()

    def bound(self, toolbox: Toolbox) -> "no_repeat":
        """Return the policy with the tools that say what may repeat and by what calls differ; itself if none does."""
        named = [tool for tool in toolbox if tool.options.repeatable or tool.options.repeat_key is not None]
        return no_repeat(self.times, Toolbox(named)) if named else self

    def remark(self, state: State) -> str | None:
        """Return a note where the model repeats itself."""
        calls = state.calls
        count, period, withheld = self._standing(calls)
        what = "this same call" if period == 1 else f"this same cycle of {period} calls"
        if withheld:
            if calls[-1].outcome == "refused":  # whoever refused it said why
                return None
            names = ", ".join(sorted({record.call.name for record in calls[-period:]}))
            return (
                f"Note: {what} came {count} times in a row; {names} is withheld until you do something else or answer."
            )
        # A cycle that goes on is as often there after each of its calls; once is enough.
        if count == self.times > 1 and self._repeats(calls[-self._reach - 1 : -1]) != (count, period):
            return f"Note: {what} came {count} times in a row. Use what you have, or do something else."
        return None

    @property
    def _reach(self) -> int:
        """How many of the last calls are looked at."""
        return _LONGEST_CYCLE * (self.times + 1)

    def _standing(self, calls: Sequence[CallRecord]) -> tuple[int, int, bool]:
        """Return how many times the last calls repeat, how many calls the cycle has, and whether it is withheld."""
        count, period = self._repeats(calls)
        failing = period == 1 and count >= _FAILURES and self._keeps_failing(calls)
        return count, period, count > self.times or failing

    def _keeps_failing(self, calls: Sequence[CallRecord]) -> bool:
        """Whether the last call that ran did so in three replies in a row, with the same error each time."""
        ran = [record for record in calls[-self._reach :] if record.outcome != "refused"]
        ends = [(record.outcome, record.result, key) for record, key in zip(ran, self._keys(ran), strict=True)]
        same = takewhile(lambda pair: pair[1] == ends[-1], zip(reversed(ran), reversed(ends), strict=True))
        return ends[-1:] != [] and ends[-1][0] == "error" and len({record.step for record, _ in same}) >= _FAILURES

    def _repeats(self, calls: Sequence[CallRecord]) -> tuple[int, int]:
        """Return how many times the last calls repeat, and how many calls the repeated cycle has."""
        if not calls:
            return 0, 1
        *before, last = calls[-_LONGEST_CYCLE - 1 :]
        # Names are compared before keys, which cost more: as nearly always, no cycle can end here.
        alike = [record for record in before if record.call.name == last.call.name]
        if not alike:
            return 1, 1
        key, *others = self._keys([last, *alike])
        if key is None or key not in others:
            return 1, 1
        keys = self._keys(calls[-self._reach :])
        found = [(_count(keys, period), period) for period in range(1, _LONGEST_CYCLE + 1)]
        # The shortest cycle is what people would call it: A A A A is one call, not a cycle of two.
        return max(found, key=lambda cycle: (cycle[0] >= self.times, cycle[0], -cycle[1]))

    def _keys(self, records: Sequence[CallRecord]) -> list[bytes | None]:
        """Return what calls are compared by; `None` for one that may repeat."""
        if self._toolbox is None:
            return [record.call.canonical for record in records]
        return [_key(record.call, self._toolbox.get(record.call.name)) for record in records]


def _key(call: ToolCall, tool: Tool | None) -> bytes | None:
    if tool is not None and tool.options.repeatable:
        return None
    if tool is not None and tool.options.repeat_key is not None:
        return encode([call.name, _picked(tool.options.repeat_key, call.arguments)])
    return call.canonical


def _written(call: Call) -> ToolCall:
    return call.written or ToolCall("", call.name, as_json(dict(call.arguments)).decode())


def _count(keys: Sequence[bytes | None], period: int) -> int:
    """Return how many times in a row the last `period` keys stand at the end; `None` equals nothing."""
    if len(keys) < period or None in keys[-period:]:
        return 0
    same = 0
    while same + period < len(keys) and keys[-1 - same] == keys[-1 - same - period]:
        same += 1
    return same // period + 1


def _picked(key: str | Sequence[str] | Callable[[dict[str, object]], object], arguments: str) -> object:
    try:
        given = object_of(decode(arguments))
    except ValueError:
        return arguments
    if callable(key):
        try:
            return repr(key(given))
        except Exception:  # noqa: BLE001 (the model may have left out or mistyped what the function reads)
            return arguments
    return [normalized(given.get(name)) for name in ([key] if isinstance(key, str) else key)]
