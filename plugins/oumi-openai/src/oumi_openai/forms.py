"""Small changes to schemas in strict form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oumi_openai.keywords import notes, without_notes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["name_of", "nullable", "redirect"]


def name_of(reference: Mapping[str, Any]) -> str:
    """The name of the definition that a reference leads to."""
    return str(reference["$ref"]).removeprefix("#/$defs/")


def redirect(part: dict[str, Any], target: str) -> None:
    """Make all references to `target` inside of a strict form lead to the root."""
    if part.get("$ref") == target:
        part["$ref"] = "#"
    inner = (*part.get("properties", {}).values(), *part.get("anyOf", ()))
    for one in (*inner, *([part["items"]] if "items" in part else ())):
        redirect(one, target)


def nullable(part: Mapping[str, Any]) -> dict[str, Any]:
    """A strict form that takes null, too."""
    bare = without_notes(part)
    forms = bare["anyOf"] if bare.keys() == {"anyOf"} else [bare]
    return {"anyOf": [*forms, {"type": "null"}], **notes(part)}
