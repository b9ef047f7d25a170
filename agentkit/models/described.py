"""A tool in words, for models that read of it in their prompt."""

from agentkit.core.chat import ToolSpec
from agentkit.core.json import encode, list_of, object_of


def described(tool: ToolSpec) -> str:
    """Return a tool as a line, and a line per described parameter; servers have the required ones written first."""
    required, definitions = list_of(tool.parameters.get("required")), object_of(tool.parameters.get("$defs"))
    schemas = [(name, object_of(schema)) for name, schema in object_of(tool.parameters.get("properties")).items()]
    schemas.sort(key=lambda item: item[0] not in required)
    parameters = [
        f"{name}: {_type_name(schema, definitions)}{'' if name in required else ' (optional)'}"
        for name, schema in schemas
    ]
    described = [f"\n  {name}: {text}" for name, schema in schemas if (text := schema.get("description"))]
    return f"- {tool.name}({', '.join(parameters)}): {tool.description}{''.join(described)}"


def _type_name(schema: dict[str, object], definitions: dict[str, object]) -> str:
    """Name a type in a few words; the reply's schema has the rest. A definition within one is only its name."""
    if isinstance(reference := schema.get("$ref"), str):
        name = reference.rpartition("/")[2]
        return _type_name(object_of(definitions[name]), {}) if name in definitions else name
    if "enum" in schema or "const" in schema:
        return " or ".join([encode(value).decode() for value in list_of(schema.get("enum")) or [schema.get("const")]])
    if branches := list_of(schema.get("anyOf")) or list_of(schema.get("oneOf")):
        return " or ".join(dict.fromkeys([_type_name(object_of(branch), definitions) for branch in branches]))
    if schema.get("type") == "array":
        return f"list of {_type_name(object_of(schema.get('items')), definitions)}"
    if fields := object_of(schema.get("properties")):
        types = [f"{name}: {_type_name(object_of(field), definitions)}" for name, field in fields.items()]
        return f"{{{', '.join(types)}}}"
    kind = schema.get("type", "any")
    return kind if isinstance(kind, str) else " or ".join(map(str, list_of(kind)))
