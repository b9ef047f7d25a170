"""The client for `POST /v1/chat/completions`: one request, from the body's bytes to an assembled reply.

`chat_client` sends, `connections` holds the pool, `timeouts` bounds each phase, `retries` and `pacing` decide when to
send again, `reply_reader` and `sse` read, `endpoint_errors` turns a refusal into an error, `profiles` says how endpoints
differ.

May import only `core`. A provider that deviates is a `Profile`, never a branch in the client.
"""
