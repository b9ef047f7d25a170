"""The journal of a batch: a line of JSON per input that ended, each with a check (`core.checked_lines`).

    {"agentkit":"batch","stored":"0000000003 9f3ab2c1"}
    {"batch":1,"agent":{"model":"…","instructions":"…","tools":"…",…},"check":"1 …"}
    {"key":"…","output":"…","stop":"answer","usage":{"requests":1,…},"check":"2 …"}
    {"key":"…","error":{"kind":"RateLimited","text":"…"},"usage":{…},"check":"3 9f3ab2c1"}

The second line says which agent wrote it. `"written"`, the model's own text, replaces `"output"` where JSON would not
give back the same output. `{"key":"…","started":true}` says that a run of an input with a session is about to begin,
and `"again":true` that a run failed because the whole batch stopped.
"""

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from anyio import CapacityLimiter, Lock, to_thread

from agentkit.core.checked_lines import MEND, CheckedFile, Damaged, without_check
from agentkit.core.checks import check_one_of
from agentkit.core.codec import read
from agentkit.core.concurrency import shielded
from agentkit.core.errors import JournalError
from agentkit.core.files import locked
from agentkit.core.json import decode, object_of
from agentkit.core.messages import Usage
from agentkit.runs.batch.key_table import KeyTable

_KIND = "batch"
_HEADS = b'{"agentkit":"batch",', b'{"batch":'  # how a journal begins, and an older one
_VERSION = 1
_SHORTEST_LINE = 32  # bytes
_BEGUN = 1  # no outcome begins at this byte: the first line is there


@dataclass(frozen=True, slots=True)
class Journal:
    """A file that keeps the outcomes of a batch. A batch with the same journal resumes where the last one stopped.

    Attributes:
        path: The file: a line of JSON per input. It is created if it is missing, readable for its owner only.
        sync: Whether each outcome is on the disk before the batch goes on. Without that, outcomes survive the death of
            the process, but not a power cut.
        failures: `"again"` runs failed inputs again; `"keep"` keeps their failures as their outcomes.
        changed: `"error"` refuses a journal of an agent with other instructions, tools, settings or another model;
            `"accept"` keeps its results, and continues with the agent as it is now.
    """

    path: str | os.PathLike[str]
    sync: bool = True
    failures: Literal["again", "keep"] = "again"
    changed: Literal["error", "accept"] = "error"

    def __post_init__(self) -> None:
        check_one_of("Journal(failures=…)", self.failures, ("again", "keep"))
        check_one_of("Journal(changed=…)", self.changed, ("error", "accept"))


class OpenJournal:
    """A journal in use. It holds the file's lock until `close` is called.

    `agent` has a short text per part of the agent, the same for the same part.
    """

    def __init__(self, journal: Journal, agent: Mapping[str, str]) -> None:
        self.usage = Usage()  # of earlier runs
        self._journal = journal
        self._places = KeyTable("Q")  # where in the file the outcome of an input is, or `_BEGUN`
        self._lines: list[bytes] = []
        self._turn = Lock()
        self._error: JournalError | None = None
        with ExitStack() as stack:
            try:
                self._fd = stack.enter_context(locked(journal.path, write=True))
                self._refuse_other_files()
                self._checked = CheckedFile(self._fd, _KIND)
                self._file = stack.enter_context(Path(journal.path).open("rb"))
                self._read_lines(agent)
            except TimeoutError as error:
                raise JournalError(
                    f"{self.name} is in use by another batch, here or in another process; wait for its end, or use "
                    "another file"
                ) from error
            except (OSError, ValueError) as error:  # a path may have what no path can have
                raise self._unusable(error) from error
            self.close = stack.pop_all().close

    @property
    def name(self) -> str:
        return os.fspath(self._journal.path)

    def begun(self, key: str) -> bool:
        """Whether an input was begun, in this run or an earlier one, and has no outcome that is kept."""
        return self._places[key] == _BEGUN

    def has(self, key: str) -> bool:
        return self._places[key] > _BEGUN

    def ended(self, key: str) -> dict[str, object] | None:
        """Return the line of an input that has an outcome, once; later, and for any other input, `None`."""
        at = self._places[key]
        if at <= _BEGUN:
            return None
        self._places[key] = 0
        self._file.seek(at)
        line = object_of(decode(without_check(self._file.readline().removesuffix(b"\n"))))
        return line if line.get("key") == key else None  # of another key with the same hash

    async def add(self, line: Mapping[str, object]) -> None:
        """Append a line. When this returns, the line is kept; a cancellation comes after that."""
        self._lines.append(_line_of(line))
        await shielded(self._flush)

    async def _flush(self) -> None:
        """Write all lines that wait, in one write."""
        async with self._turn:
            if self._lines and self._error is None:
                lines, self._lines = self._lines, []
                write = partial(self._checked.append, lines, sync=self._journal.sync)
                try:
                    await to_thread.run_sync(write, limiter=CapacityLimiter(1))
                except OSError as error:
                    self._error = self._unusable(error)
                    self._error.__cause__ = error
        if self._error is not None:
            raise self._error

    def _refuse_other_files(self) -> None:
        """Read the first line before anything is changed: a file that is no journal stays as it is."""
        with open(self._fd, "rb", closefd=False) as file:
            first = file.readline()
        if first.endswith(b"\n"):
            if not first.startswith(_HEADS[0]) and self._fields_of(1, first).get("batch") != _VERSION:
                raise JournalError(f"{self.name} is no journal of a batch that this version knows; use another file")
        elif not (first.startswith(_HEADS) or any(head.startswith(first) for head in _HEADS)):
            raise self._unreadable(1)

    def _read_lines(self, agent: Mapping[str, str]) -> None:
        """Read what earlier runs kept, and compare their agent with this one."""
        head: dict[str, object] = {}
        spent: dict[str, Any] = {}
        try:
            # The number in the last line is not verified yet: more lines than fit into the file are none.
            most = os.fstat(self._fd).st_size // _SHORTEST_LINE
            self._places = KeyTable("Q", min(self._checked.last.number, most))
            for number, at, line in self._checked.read():
                fields = self._fields_of(number, line)
                if "batch" in fields:
                    head = fields
                elif "key" in fields:
                    self._note(fields, at)
                    self._add_usage(number, fields.get("usage", {}), spent)
                elif fields.get("skippable") is not True:  # as a newer version says of lines that others may skip
                    raise self._unreadable(number)
        except Damaged as error:
            raise self._unreadable(error.line, f": {error}") from error
        self.usage += Usage(**spent)
        self._begin(object_of(head.get("agent")), agent, new=not head)

    def _fields_of(self, number: int, line: bytes) -> dict[str, object]:
        try:
            fields = object_of(decode(line))
        except ValueError:
            fields = {}
        if not fields:
            raise self._unreadable(number)
        return fields

    def _add_usage(self, number: int, usage: object, spent: dict[str, Any]) -> None:
        """Add the usage of a line: plain numbers to `spent`, for a `Usage` per line takes longer than all the rest."""
        if not isinstance(usage, dict):
            raise self._unreadable(number)
        for name, amount in cast("dict[str, object]", usage).items():
            kind = type(amount)
            if name in spent and (kind is int or (kind is float and name == "cost")):
                spent[name] += amount
            else:
                try:
                    self.usage += read(Usage, {name: amount})
                except ValueError:
                    raise self._unreadable(number) from None
                if kind is int or kind is float:
                    spent[name] = 0

    def _note(self, fields: Mapping[str, object], at: int) -> None:
        """Take note of an earlier line, which begins at the byte `at`."""
        if "error" in fields:
            kept = self._journal.failures == "keep" and not fields.get("again")
        else:
            kept = "started" not in fields and fields.get("stop") != "paused"
        self._places[str(fields["key"])] = at if kept else _BEGUN

    def _begin(self, was: Mapping[str, object], agent: Mapping[str, str], *, new: bool) -> None:
        """Compare the agent with the journal's; write it if it is new, or changed and accepted."""
        changed = [name for name in {**agent, **was} if was.get(name) != agent.get(name)]
        if not changed:
            return
        if not new and self._journal.changed == "error":
            raise JournalError(
                f"{self.name} was begun with another agent: it differs in {', '.join(changed)}. Nothing was run or "
                "changed. Use another file; or keep its results and continue, with "
                'agent.map(…, journal=Journal("…", changed="accept"))'
            )
        self._checked.append([_line_of({"batch": _VERSION, "agent": dict(agent)})], sync=self._journal.sync)

    def _unreadable(self, number: int, why: str = "") -> JournalError:
        return JournalError(
            f"line {number} of {self.name} cannot be read{why}. Nothing was changed; {MEND}, or use another file"
        )

    def _unusable(self, error: Exception) -> JournalError:
        return JournalError(
            f"{self.name} cannot be read or written: {getattr(error, 'strerror', None) or error}. Check that its "
            "folder exists, that this user may write to it, and that the disk has room; then the same call resumes "
            "with what is left"
        )


@asynccontextmanager
async def opened(journal: Journal, agent: Mapping[str, str]) -> AsyncGenerator[OpenJournal, None]:
    """Open a journal, and keep others out of it until the block is left."""
    open_journal = await to_thread.run_sync(partial(OpenJournal, journal, agent))
    try:
        yield open_journal
    finally:
        open_journal.close()


def _line_of(line: Mapping[str, object]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
