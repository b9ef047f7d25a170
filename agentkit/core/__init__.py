"""The values that everything speaks in, the ports, and the errors.

Messages, requests and replies, the state of a run, usage, and the two protocols that others implement: `Model` and
`Session`. Nothing here does I/O except the locks and files that sessions and journals share.

May import nothing else of agentkit. Add here what two rooms need and none of them owns; a new kind of message part goes
to `messages`, a new error to `errors`, a range check to `checks`.
"""
