"""What a durable run is in DBOS: a workflow, and a further one for each time that it was decided how it goes on."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, TypeAlias, TypedDict, Unpack, cast

from dbos import DBOSClient, EnqueueOptions, StepInfo, WorkflowHandle, WorkflowStatus

from agentkit.core.dicts import message_of
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import Message
from agentkit.durable.recording import PREFIX, Record

WORKFLOW: Final = "agentkit.run"
QUEUE: Final = "agentkit."
"""What the name of a queue begins with; then comes the agent's name."""
VERSION: Final = "1"
"""The form of what is recorded. Code may change as it likes: a run goes on from its history."""

RunState: TypeAlias = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]
"""Where a run is: not yet begun, at work, waiting for approval, or at its end."""

_PAGE = 1000

_STATES: Mapping[str, RunState] = {
    "ENQUEUED": "queued",
    "DELAYED": "cancelled",  # as is a part that is never to begin
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
}


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known of a run.

    Attributes:
        id: Its id.
        agent: The name of its agent.
        state: Where it is.
        created: When it was submitted, or when it was decided how it goes on.
        updated: When its state changed last.
        attempts: How often a worker took it up.
        worker: The worker that took it up last.
    """

    id: str
    agent: str
    state: RunState
    created: datetime
    updated: datetime
    attempts: int
    worker: str | None


class More(TypedDict, total=False):
    """What may be said of how a part of a run is put into its queue."""

    workflow_id_reuse_policy: Literal["reject"]
    delay_seconds: float


class Recorded(NamedTuple):
    """What is recorded of a run.

    Attributes:
        prompt: What it began with.
        records: What was recorded since.
    """

    prompt: tuple[Message, ...]
    records: tuple[Record, ...]


def id_of(run: str, part: int) -> str:
    """Give the workflow id of a part of a run."""
    return run if part == 1 else f"{run}#{part}"


def part_of(workflow_id: str) -> tuple[str, int]:
    """Give the run that a workflow is of, and which part of it."""
    run, mark, part = workflow_id.rpartition("#")
    return (run, int(part)) if mark and part.isdecimal() else (workflow_id, 1)


def agent_of(status: WorkflowStatus) -> str:
    """Give the name of the agent that a run is of; its queue is lost where it is cancelled."""
    return str(object_of(status.attributes).get("agent", ""))


def info_of(status: WorkflowStatus) -> RunInfo:
    """Give what the last workflow of a run tells of it."""
    state = _STATES[status.status]
    if state == "done" and object_of(status.output).get("stop") == "paused":
        state = "waiting"
    return RunInfo(
        part_of(status.workflow_id)[0],
        agent_of(status),
        state,
        _time(status.created_at),
        _time(status.updated_at),
        status.recovery_attempts or 0,
        status.executor_id,
    )


def enqueue(client: DBOSClient, order: Mapping[str, object], **more: Unpack[More]) -> None:
    """Put a part of a run into the queue of its agent."""
    agent = str(order["agent"])
    options: EnqueueOptions = {
        "workflow_name": WORKFLOW,
        "queue_name": f"{QUEUE}{agent}",
        "workflow_id": id_of(str(order["run"]), cast("int", order["part"])),
        "app_version": VERSION,
        "attributes": {"agent": agent},
    }
    options.update(cast("EnqueueOptions", more))
    _: WorkflowHandle[object] = client.enqueue(options, order)


def listed(client: DBOSClient, state: RunState | None, agent: str | None) -> Iterator[RunInfo]:
    """Give the runs, the newest first, read as they are asked for.

    Args:
        client: DBOS's client.
        state: Only those in this state.
        agent: Only those of the agent of this name.
    """
    # A part that came to its end may have been followed by another one; any other part is the last one of its run.
    ended = state in (None, "waiting", "done")
    status = None if ended else [name for name, each in _STATES.items() if each == state]
    seen: set[str] = set()
    offset = 0
    while True:  # a run that is submitted meanwhile only has others come a second time
        page = client.list_workflows(
            name=WORKFLOW, status=status, load_input=False, sort_desc=True, limit=_PAGE, offset=offset
        )
        for each in page:
            run, _ = part_of(each.workflow_id)
            info = info_of(each)
            if run not in seen and state in (None, info.state) and agent in (None, info.agent):
                yield info
            seen.add(run)
        if len(page) < _PAGE:
            return
        offset += _PAGE


def latest(client: DBOSClient, run: str) -> tuple[WorkflowStatus, int]:
    """Give the last part of a run.

    Raises:
        InvalidRequest: If there is no such run.
    """
    found = client.list_workflows(workflow_ids=[run], name=WORKFLOW, load_input=False)
    if not found:
        raise InvalidRequest(f"there is no run {run!r}")
    if info_of(found[0]).state == "waiting":  # or it went on
        found += client.list_workflows(workflow_id_prefix=f"{run}#", name=WORKFLOW, load_input=False)
    parts = {part: each for each in found for own, part in [part_of(each.workflow_id)] if own == run}
    return parts[max(parts)], max(parts)


def recorded(client: DBOSClient, run: str, parts: int) -> Recorded:
    """Give what is recorded of a run in its first parts."""
    (first,) = client.list_workflows(workflow_ids=[run])
    order = object_of(first.input["args"][0] if first.input else None)
    steps = [each for part in range(1, parts + 1) for each in client.list_workflow_steps(id_of(run, part))]
    return Recorded(tuple([message_of(each, "the prompt") for each in list_of(order.get("prompt"))]), records_in(steps))


def records_in(steps: Iterable[StepInfo]) -> tuple[Record, ...]:
    """Give the records among the steps of workflows; a tool may have made others."""
    return tuple([object_of(each["output"]) for each in steps if each["function_name"].startswith(PREFIX)])


def _time(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
