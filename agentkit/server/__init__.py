"""Agents behind `POST /v1/chat/completions`, so that every chat client can talk to them.

app = ChatServer(agent, keys=["sk-…"])   # an ASGI app: mount it, or pass it to any ASGI server
serve(app)                               # or serve it with uvicorn, the extra `server`

`app` routes, `request` checks the body field by field, `runner` runs the agent, `response` writes chunks or one body,
`response_format` is structured output. `client_tools` and `client_calls` handle tools that the client runs, `access`
checks keys and hosts, `places` and `connections` bound what runs and what is open. `page` serves the files in `web`:
for people, as are the views of `policies`. `conversations` keeps them for clients, `approvals` has calls that wait.

May import `agent` and every room below it. A new request field goes to `request`, with its refusal in `errors`.
"""

from agentkit.server.app import ChatServer
from agentkit.server.conversations import SessionStore
from agentkit.server.limits import Bounds
from agentkit.server.serving import serve

__all__ = ["Bounds", "ChatServer", "SessionStore", "serve"]
