"""An agent behind `POST /v1/chat/completions`, so that every chat client speaks to it.

app = ChatServer(agent, keys=["sk-…"])   # an ASGI app: mount it, or hand it to any ASGI server
serve(app)                               # or serve it with uvicorn, the extra `server`
"""

from agentkit.server.app import ChatServer
from agentkit.server.limits import Bounds
from agentkit.server.serving import serve

__all__ = ["Bounds", "ChatServer", "serve"]
