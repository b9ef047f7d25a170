"""The runs of a served agent, which its server shows: `agentkit view --live URL`."""

from http import HTTPStatus
from typing import Self

import httpx
from anyio import to_thread

from agentkit.core.errors import ConfigurationError
from agentkit.core.json import list_of, object_of
from agentkit.models.client.address import parse_address
from agentkit.viewer import Json

_SECONDS = 10.0


def is_url(text: str) -> bool:
    """Whether a text is the address of a server, and not a file."""
    return text.startswith(("http://", "https://"))


class ServedRuns:
    """Asks a server for its runs, each time for those that changed since.

    Args:
        url: The address of the server, with or without `/v1`.
        key: Its key.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = parse_address(url).base.removesuffix("/v1")
        self._client = httpx.Client(headers={"authorization": f"Bearer {key}"} if key else {}, timeout=_SECONDS)
        self._version: object = 0
        self._runs: dict[object, Json] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    async def load(self) -> tuple[list[Json], Json]:
        """Return all runs as items of one, for the page.

        Raises:
            ConfigurationError: If the server does not answer, or does not show its runs.
        """
        answer = object_of(await to_thread.run_sync(self._ask))
        ids, data = list_of(answer.get("ids")), [*map(object_of, list_of(answer.get("data")))]
        known = self._runs | {run.get("id"): run for run in data}
        self._version, self._runs = answer.get("version", 0), {id_: known[id_] for id_ in ids if id_ in known}
        return [{"items": [*self._runs.values()]}], {}

    def _ask(self) -> object:
        try:
            response = self._client.get(f"{self.url}/v1/runs", params={"after": str(self._version)})
            if response.status_code == HTTPStatus.OK:
                return response.json()
        except httpx.HTTPError as error:
            text = f"there is no server at {self.url}: {error}; start it with agentkit serve … --show-runs"
            raise ConfigurationError(text) from error
        except ValueError as error:
            raise ConfigurationError(f"what answers at {self.url} is no served agent") from error
        match response.status_code:
            case 401:
                text = "needs its key: --api-key, or AGENTKIT_SERVE_KEY"
            case 404:
                text = "does not show its runs: start it with agentkit serve … --show-runs"
            case status:
                text = f"answers with the status {status}"
        raise ConfigurationError(f"the server at {self.url} {text}")
