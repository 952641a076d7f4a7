"""The manifest as a JSON Schema (draft-07, which editors of TOML read), from the same table as the parser.

Says the shape only; what values mean together is told by `portero manifest check`.
"""

from __future__ import annotations

import json
from typing import Any, assert_never

from portero.core.policy import manifest_kinds as kinds
from portero.core.policy.manifest_keys import MANIFEST

_DURATION = r"^(0|[1-9][0-9]{0,8})[smhd]$"


def manifest_schema() -> str:
    """Write the schema, with a newline at its end."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Portero manifest (portero.toml)",
        **_schema(MANIFEST),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(kind: kinds.Kind) -> dict[str, Any]:
    match kind:
        case kinds.Text(choices=()):
            return {"type": "string", "pattern": f"^(?:{kind.pattern})$"}
        case kinds.Text():
            return {"enum": list(kind.choices)}
        case kinds.Flag():
            return {"type": "boolean"}
        case kinds.Number():
            return {"type": "integer", "minimum": kind.least, "maximum": kind.most}
        case kinds.Duration():
            return {"type": "string", "pattern": _DURATION}
        case kinds.Texts():
            return {"type": "array", "items": _schema(kind.item), "minItems": 1, "uniqueItems": True}
        case kinds.Values():
            return {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"type": ["string", "integer", "boolean"]},
            }
        case kinds.Table():
            return _object(kind)
        case kinds.ByName():
            return {
                "type": "object",
                "patternProperties": {f"^(?:{kind.pattern})$": _schema(kind.item)},
                "additionalProperties": False,
            }
        case kinds.Tables():
            return {"type": "array", "items": _schema(kind.item)}
        case kinds.TableOr():
            return {"anyOf": [_schema(kind.table), {"const": kind.word}]}
        case kinds.Elsewhere():
            return {"type": "object"}
        case _:
            assert_never(kind)


def _object(table: kinds.Table) -> dict[str, Any]:
    properties = {}
    for name, key in table.keys.items():
        said = key.says + (f" Default: {key.default}." if key.default else "")
        properties[name] = {"description": said, **_schema(key.kind)}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [name for name, key in table.keys.items() if key.required]
    return schema | ({"required": required} if required else {})
