"""The page: one HTML file that loads nothing, and may not.

Its content security policy allows its own script and style by their hashes, and images and recordings that are in the
data. The data is JSON in which no character can end the element, and the script makes text of it, never markup.
"""

import json
import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files

from agentkit.core.printable import printable
from agentkit.core.secrets import Secrets
from agentkit.viewer.document import Json

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_SHORTEST_SECRET = 8  # a shorter value may be a word of the conversation
# The forms that providers give to their keys.
_KEY = re.compile(
    r"\b(?:(?:sk|pk|rk|gsk|xai|r8|hf)[-_][A-Za-z0-9_-]{16,}|AIza[\w-]{35}|gh[pousr]_\w{36}|xox[abprs]-[\w-]{10,}"
    r"|AKIA[A-Z0-9]{16}\b|Bearer [\w.~+/-]{16,})"
)
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page_of(
    runs: Sequence[Json], more: Mapping[str, object] | None = None, *, title: str = "Run", live: bool = False
) -> str:
    """Return the page of a run, or of two runs that are compared.

    Args:
        runs: What `run_of` returned.
        more: `differences` and `graph`, if they are known.
        title: The title of the page.
        live: Whether the page asks the server that it came from for news.
    """
    text = {name: _read(f"viewer.{name}") for name in ("html", "css", "js")}
    connect = "; connect-src 'self'" if live else ""
    policy = (
        f"default-src 'none'; script-src {_hash_of(text['js'])}; style-src {_hash_of(text['css'])}; "
        f"img-src data:; media-src data:; base-uri 'none'; form-action 'none'{connect}"
    )
    values = {
        "policy": escape(policy),
        "title": escape(printable(masked(title))),
        "style": text["css"],
        "data": data_of(runs, title=title, live=live, **(more or {})),
        "script": text["js"],
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: values[mark[1]], text["html"])


def data_of(runs: Sequence[Json], **more: object) -> str:
    """Return the data of a page as JSON that is safe in an HTML element, with keys masked."""
    data = json.dumps({"runs": [*runs], **more}, separators=(",", ":"))
    return masked(data).translate(_IN_SCRIPT)


def masked(text: str) -> str:
    """Mask the secrets that this process has in its environment, and whatever looks like a provider's key."""
    environment = [
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name.upper())
    ]
    return _KEY.sub("…", Secrets(environment).shown(text))


@cache
def _read(name: str) -> str:
    return files("agentkit.viewer").joinpath(name).read_text(encoding="utf-8")


def _hash_of(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
