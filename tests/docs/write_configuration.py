"""Writes the tables of `configuration.md` from the classes themselves.

python docs/write_configuration.py          # writes the page
python docs/write_configuration.py --check  # ends with 1 if the page is not up to date
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oumi_core.configs import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
TABLES = re.compile(r"(?<=<!-- tables: written by write_configuration.py -->\n).*", re.DOTALL)
SECTIONS = {
    "InferenceConfig": "top level",
    "ModelParams": "`model`",
    "GenerationParams": "`generation`",
    "GuidedDecodingParams": "`generation.guided_decoding`",
    "RemoteParams": "`remote_params`",
    "BudgetParams": "`budget`",
}


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    text = PAGE.read_text(encoding="utf-8")
    written = TABLES.sub(lambda _: "\n".join(tables()), text)
    if "--check" not in arguments:
        PAGE.write_text(written, encoding="utf-8")
        return 0
    if written != text:
        sys.stderr.write(
            f"{PAGE.name} is not up to date: run python tests/docs/{Path(__file__).name}\n"
        )
        return 1
    return 0


def tables() -> Iterator[str]:
    """The lines of all tables."""
    schema = json_schema()
    objects = {schema["title"]: schema, **schema["$defs"]}
    for name, place in SECTIONS.items():
        yield f"\n## {name}: {place}\n"
        yield "| field | takes | default | meaning |"
        yield "|---|---|---|---|"
        required = objects[name].get("required", ())
        for field, entry in objects[name]["properties"].items():
            default = "required" if field in required else shown(entry.get("default"))
            cells = (f"`{field}`", takes(entry), default, entry["description"])
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def takes(entry: dict[str, Any]) -> str:
    """The kinds of values that a field takes."""
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(takes(option) for option in entry["anyOf"]))
    if "$ref" in entry:
        return f"a mapping: {entry['$ref'].rpartition('/')[2]}"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    kinds = entry.get("type", "anything")
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)


def shown(default: Any) -> str:
    """A default as YAML writes it."""
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
