"""The Model Context Protocol: a server's tools as an agent's (`client`), and your own tools as a server (`server`).

Needs the extra `mcp`. May import `agent` and every room below it. A content type of a result goes to `client`.
"""

from agentkit.core.errors import MissingExtra

try:
    from agentkit.mcp.client import mcp_tools
    from agentkit.mcp.connection import HttpServer, ServerFailed, StdioServer
    from agentkit.mcp.server import mcp_server, serve_mcp
except ImportError as missing:
    raise MissingExtra("the Model Context Protocol needs its SDK, the extra `mcp`: pip install 'mcp>=2.3'") from missing

__all__ = ["HttpServer", "ServerFailed", "StdioServer", "mcp_server", "mcp_tools", "serve_mcp"]
