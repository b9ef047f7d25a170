"""JSON Schema from Python signatures and docstrings, and validators for arguments.

`signature` reads a function, `annotations` a type, `docstrings` the descriptions; `json_schema` takes a schema that was
written elsewhere, and `strict` rewrites one for endpoints with strict structured output.

May import only `core`. A new annotation goes to `annotations`, a keyword that is enforced to `json_schema`.
"""
