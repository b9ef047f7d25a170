"""What DBOS stores: JSON that any program can read, and no pickles."""

import json
from typing import Any

from dbos import Serializer

from agentkit.core.codec import read_error, write_error
from agentkit.core.json import object_of


class Json(Serializer):
    """Writes inputs, records, outcomes and errors as JSON."""

    def name(self) -> str:
        return "agentkit_json"

    def serialize(self, data: Any) -> str:
        """Write a value; of an exception that is none of agentkit's, its type and text."""
        return json.dumps(
            {"error": write_error(data)} if isinstance(data, BaseException) else data, separators=(",", ":")
        )

    def deserialize(self, serialized_data: str) -> Any:
        data = json.loads(serialized_data)
        return read_error(object_of(data)["error"]) if "error" in object_of(data) else data
