"""The JSON Schema of the YAML config, for editors: made from the checks and the docstrings."""

from __future__ import annotations

import inspect
import re
from typing import Any

import attrs

from oumi_core.configs.inference_config import InferenceConfig
from oumi_core.configs.params import own, params_fields

__all__ = ["json_schema"]

_ENTRY = re.compile(r"^    (\w+): ", re.MULTILINE)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an inference config.

    Whatever it refuses, loading refuses too; rules between fields are known to loading only.
    """
    sections: dict[str, Any] = {}
    root = _object(InferenceConfig, sections)
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **root, "$defs": sections}


def _object(params: type[Any], sections: dict[str, Any]) -> dict[str, Any]:
    texts = _descriptions(params)
    properties = {}
    required = []
    for name, field in params_fields(params).items():
        entry: dict[str, Any] = {"description": texts[name]} if name in texts else {}
        section = field.check.section
        if section is None:
            entry.update(field.check.schema)
        else:
            sections[section.__name__] = _object(section, sections)
            entry["anyOf"] = [{"$ref": f"#/$defs/{section.__name__}"}, {"type": "null"}]
        if field.default is attrs.NOTHING:
            required.append(name)
        elif field.default is not None:
            entry["default"] = own(field.default)
        properties[name] = entry
    schema = {
        "title": params.__name__,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


def _descriptions(params: type[Any]) -> dict[str, str]:
    """What the `Attributes:` block of the class's docstring says of each field."""
    _, _, block = inspect.cleandoc(params.__doc__ or "").partition("\nAttributes:\n")
    block = block.partition("\n\n")[0]
    _, *parts = _ENTRY.split(block)
    return {
        name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
