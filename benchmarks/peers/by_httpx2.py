"""The loop by hand over httpx2, whose pool is quicker."""

from peers import by_httpx


class P(by_httpx.P):
    """httpx2."""

    library = "httpx2"
