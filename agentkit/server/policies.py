"""The policies of the agents, for people: as text, and drawn."""

from collections.abc import Callable, Mapping

from anyio import Lock, to_thread

from agentkit.core.json import encode
from agentkit.runs.plan import Plan
from agentkit.server.asgi import JSON_HEADERS
from agentkit.tool_choice import Report, analyse

_SVG_HEADERS = {"content-type": "image/svg+xml", "content-security-policy": "default-src 'none'; sandbox"}


class Policies:
    """What the policies of the agents can do.

    A policy never changes, so a view of it is made once. An analysis takes processor time, so one runs at a time.
    """

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        self._plans = plans
        self._made: dict[str, bytes] = {}
        self._lock = Lock()

    def has(self, path: str) -> bool:
        """Whether there is a view at a path: `shop/policy` or `shop/policy.svg` for the agent `shop`."""
        name, _, view = path.rpartition("/")
        return name in self._plans and view in _VIEWS

    async def view(self, path: str) -> tuple[bytes, dict[str, str]]:
        """Return the view at a path, and its headers."""
        name, _, view = path.rpartition("/")
        make, headers = _VIEWS[view]
        async with self._lock:
            made = self._made.get(path, b"") or await to_thread.run_sync(make, name, self._plans[name])
            self._made[path] = made
        return made, headers


def _as_text(name: str, plan: Plan) -> bytes:
    report = _report(plan)
    data = {"id": name, "object": "policy", "policy": plan.policy_text, "report": str(report)}
    return encode(data | {"graph": report.graph.text()})


def _drawn(_: str, plan: Plan) -> bytes:
    return _report(plan).graph.svg().encode()


def _report(plan: Plan) -> Report:
    return analyse(plan.policy, plan.toolbox, stop_at=plan.stop_at)


_VIEWS: Mapping[str, tuple[Callable[[str, Plan], bytes], dict[str, str]]] = {
    "policy": (_as_text, JSON_HEADERS),
    "policy.svg": (_drawn, _SVG_HEADERS),
}
