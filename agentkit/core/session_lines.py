"""Each entry of a session as a line of JSON, as files, databases and durable runs store it."""

import json
from collections.abc import Iterable, Iterator

from agentkit.core.checked_lines import MEND
from agentkit.core.codec import read, write
from agentkit.core.dicts import json_of, message_of, stored
from agentkit.core.errors import SessionError
from agentkit.core.json import object_of
from agentkit.core.session import Ended, Entry, Started


def line_of(entry: Entry) -> str:
    """Write an entry as JSON in one line; `InvalidRequest` if `extra` has a value with no JSON form."""
    match entry:
        case Started():
            return json_of({"started": write(entry)})
        case Ended():
            return json_of({"ended": write(entry)})
        case _:
            return json_of(stored(entry))


def entries_of(lines: Iterable[tuple[str, str | bytes]]) -> Iterator[Entry]:
    """Read lines, each with its place for a `SessionError`.

    A line of an unknown kind is an error, unless a newer version says `"skippable": true` in it.
    """
    for where, line in lines:
        try:
            # Told the encoding, it need not look for it; a file that was written by hand may begin with its mark.
            data: object = json.loads(line if isinstance(line, str) or line[:1] != b"{" else line.decode())
            fields = object_of(data)
            if "started" in fields:
                yield read(Started, fields["started"], where="started")
            elif "ended" in fields:
                yield read(Ended, fields["ended"], where="ended")
            elif fields.get("skippable") is not True:
                yield message_of(data, "the entry")
        except (ValueError, RecursionError) as error:
            raise SessionError(f"{where} cannot be read: {error}. Nothing was changed; {MEND}") from error
