"""The client for `POST /v1/chat/completions`: one request, from the body's bytes to an assembled reply.

- `chat_client` sends requests, `address` finds the endpoint and its key, `connections` is the connection pool.
- `timeouts` bounds each phase of a request; `retries`, `pacing` and `rate_headers` decide when to send one again.
- `reply_reader` and `sse` read replies; `endpoint_errors` turns an endpoint's error into an exception.
- `profile` encodes requests for endpoints that deviate, `profiles` is the table of those, `plain_schema` their schemas.

May import only `core`. A provider that deviates is a `Profile`, never a branch in the client.
"""
