"""A durable run as DBOS workflows: one, and another one each time that someone decides how a paused run resumes.

The parts of run `ticket-77` are the workflows `ticket-77`, `ticket-77#2` and so on. The state of a run is that of its
last part. Each part has its input, a `Part`, and its records as steps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict, Unpack, cast

from dbos import DBOSClient, EnqueueOptions, StepInfo, WorkflowHandle, WorkflowStatus

from agentkit.core.dicts import message_of
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import Message
from agentkit.durable.recording import PREFIX, Record

WORKFLOW: Final = "agentkit.run"
QUEUE: Final = "agentkit."
"""How the name of a queue begins; the agent's name follows."""
VERSION: Final = "1"
"""The version of the records, not of the code: a run resumes from its history, so the code may change."""

RunState: TypeAlias = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]
"""The state of a run; one that waits has calls that wait for approval."""

_PAGE = 1000
_STATES: Mapping[str, RunState] = {
    "ENQUEUED": "queued",
    "DELAYED": "cancelled",  # `Submitted.cancel` delays a part for ever, so that nobody decides on it meanwhile
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
}


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The state of a durable run.

    Attributes:
        id: The id of the run.
        agent: The name of its agent.
        state: Its state.
        created: When it was submitted, or when someone decided how it resumes.
        updated: When its state changed last.
        attempts: How many times a worker started or resumed it.
        worker: The worker that had it last.
    """

    id: str
    agent: str
    state: RunState
    created: datetime
    updated: datetime
    attempts: int
    worker: str | None


class Part(TypedDict):
    """The input of a workflow: the first part of a run has the prompt, the others the decisions, each as JSON data."""

    run: str
    agent: str
    part: int
    prompt: NotRequired[Sequence[object]]
    decisions: NotRequired[Sequence[object]]


class _Options(TypedDict, total=False):
    workflow_id_reuse_policy: Literal["reject"]
    delay_seconds: float


def workflow_id_of(run: str, part: int) -> str:
    return run if part == 1 else f"{run}#{part}"


def part_of(workflow_id: str) -> tuple[str, int]:
    run, mark, part = workflow_id.rpartition("#")
    return (run, int(part)) if mark and part.isdecimal() else (workflow_id, 1)


def info_of(status: WorkflowStatus, alive: Callable[[str], bool] | None = None) -> RunInfo:
    """Return the state of a run, by the status of its last workflow. With `alive`, a dead worker's run is queued."""
    state = _STATES[status.status]
    if state == "running" and alive is not None and status.executor_id and not alive(status.executor_id):
        state = "queued"
    if state == "done" and object_of(status.output).get("stop") == "paused":
        state = "waiting"
    return RunInfo(
        part_of(status.workflow_id)[0],
        str(object_of(status.attributes).get("agent", "")),  # DBOS forgets the queue of a cancelled workflow
        state,
        _time(status.created_at),
        _time(status.updated_at),
        status.recovery_attempts or 0,
        status.executor_id,
    )


def enqueue(client: DBOSClient, part: Part, **more: Unpack[_Options]) -> None:
    options: EnqueueOptions = {
        "workflow_name": WORKFLOW,
        "queue_name": f"{QUEUE}{part['agent']}",
        "workflow_id": workflow_id_of(part["run"], part["part"]),
        "app_version": VERSION,
        "attributes": {"agent": part["agent"]},
    }
    options.update(cast("EnqueueOptions", more))
    _: WorkflowHandle[object] = client.enqueue(options, part)


def list_runs(
    client: DBOSClient, state: RunState | None, agent: str | None, alive: Callable[[str], bool]
) -> Iterator[RunInfo]:
    """Yield the runs in a state and of an agent, the newest first, read page by page."""
    # A part that succeeded may have another one after it; a part in any other state is the last one of its run.
    ended = state in (None, "waiting", "done")
    mapped = ("queued", "running") if state == "queued" else (state,)  # of a run of a dead worker, DBOS says it runs
    status = None if ended else [name for name, own in _STATES.items() if own in mapped]
    seen: set[str] = set()
    offset = 0
    while True:  # a run that is submitted meanwhile only moves others to the next page, where they are seen again
        page = client.list_workflows(
            name=WORKFLOW, status=status, load_input=False, sort_desc=True, limit=_PAGE, offset=offset
        )
        for info in [info_of(entry, alive) for entry in page]:
            if info.id not in seen and state in (None, info.state) and agent in (None, info.agent):
                yield info
            seen.add(info.id)
        if len(page) < _PAGE:
            return
        offset += _PAGE


def last_part(client: DBOSClient, run: str) -> tuple[WorkflowStatus, int]:
    """Return the last part of a run, and its number."""
    statuses = client.list_workflows(workflow_ids=[run], name=WORKFLOW, load_input=False)
    if not statuses:
        raise InvalidRequest(f"there is no run {run!r}")
    if info_of(statuses[0]).state == "waiting":  # unless there is another part
        statuses += client.list_workflows(workflow_id_prefix=f"{run}#", name=WORKFLOW, load_input=False)
    parts = {part_of(status.workflow_id): status for status in statuses}  # `ticket#x` begins as `ticket` does
    number = max(part for own, part in parts if own == run)
    return parts[run, number], number


def load_run(client: DBOSClient, run: str, parts: int) -> tuple[tuple[Message, ...], tuple[Record, ...]]:
    """Return the prompt of a run, and the records of its first parts."""
    (first,) = client.list_workflows(workflow_ids=[run])
    prompt = list_of(object_of(first.input["args"][0] if first.input else None).get("prompt"))
    ids = [workflow_id_of(run, part) for part in range(1, parts + 1)]
    steps = [step for workflow_id in ids for step in client.list_workflow_steps(workflow_id)]
    return tuple([message_of(message, "the prompt") for message in prompt]), records_in(steps)


def records_in(steps: Iterable[StepInfo]) -> tuple[Record, ...]:
    """Return the records among the steps of workflows; a tool may have made other steps."""
    return tuple([object_of(step["output"]) for step in steps if step["function_name"].startswith(PREFIX)])


def _time(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
