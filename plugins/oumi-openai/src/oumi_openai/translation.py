"""The translation of a JSON Schema into OpenAI's strict form, one schema at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from oumi_openai import distinct, keywords
from oumi_openai.forms import name_of, nullable, redirect
from oumi_openai.keywords import NotStrict
from oumi_openai.way_back import KEY, VALUE, Field, Step, each, entries, record, same, union

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jsonschema.protocols import Validator

__all__ = ["NotStrict", "Translation"]

_Part = tuple[dict[str, Any], Step]
"""A schema in strict form, and the way back from its values."""


class Translation:
    """Translates one whole schema.

    Attributes:
        definitions: what references lead to, in strict form, by name.
        widened: a null was let pass that the original does not.
        changes: the way back does something.
    """

    def __init__(self, schema: Mapping[str, Any] | bool) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}
        self.widened = False
        self.changes = False
        self._root = schema
        self._original = _validator(schema)
        self._strict: Validator | None = None
        self._names: dict[str, str] = {}
        self._steps: dict[str, Step] = {}

    def root(self) -> _Part:
        """The root. Where it is a reference to an object, that object takes its place.

        Raises:
            NotStrict: there is no strict form.
        """
        part, step = self._any(self._root, "")
        target = part
        while "$ref" in target:
            target = self.definitions[name_of(target)]
        if target is not part and target.get("type") == "object":
            self._make_root(target)
            return target, step
        return part, step

    def _make_root(self, definition: dict[str, Any]) -> None:
        """Let references to a definition lead to the root, which it becomes."""
        (name,) = (name for name, one in self.definitions.items() if one is definition)
        del self.definitions[name]
        for part in (definition, *self.definitions.values()):
            redirect(part, f"#/$defs/{name}")

    def finish(self, sent: Mapping[str, Any]) -> None:
        """Learn the whole strict form, by which the way back tells the forms of a union apart."""
        self._strict = _validator(sent)

    def _any(self, schema: Any, at: str) -> _Part:
        if not isinstance(schema, dict) or not schema.keys() & keywords.ASSERTIONS:
            raise NotStrict(
                "type", at, "is not given, so that any value fits; strict mode needs a type"
            )
        keywords.refuse_everywhere(schema, at, self._root)
        if "enum" in schema or "const" in schema:
            return self._enum(schema, at)
        for keyword, translate in (
            ("$ref", self._reference),
            ("anyOf", self._any_of),
            ("oneOf", self._one_of),
            ("allOf", self._all_of),
        ):
            if keyword in schema:
                keywords.refuse_beside(schema, keyword, at)
                return translate(schema, at)
        types = keywords.types_of(schema, at)
        if len(types) == 1:
            return self._typed(schema, types[0], at)
        parts = [self._typed(keywords.without_notes(schema), one, at) for one in types]
        return self._union(schema, parts)

    def _typed(self, schema: dict[str, Any], kind: str, at: str) -> _Part:
        keywords.refuse_for(schema, kind, at)
        if kind == "object":
            return self._object(schema, at)
        if kind == "array":
            return self._array(schema, at)
        return {**keywords.scalar(schema, kind, at), **keywords.notes(schema)}, same

    def _enum(self, schema: dict[str, Any], at: str) -> _Part:
        keyword = "const" if "const" in schema else "enum"
        given = [schema["const"]] if keyword == "const" else schema["enum"]
        # The original as a whole decides, so that nothing beside the values is lost.
        values = [value for value in given if self._fits_original(schema, value)]
        if not values:
            raise NotStrict(keyword, at, "no value of it fits the rest of the schema")
        if any(isinstance(value, list | dict) for value in values):
            raise NotStrict(keyword, at, "holds lists or objects; strict mode takes only scalars")
        return {**keywords.enum(values), **keywords.notes(schema)}, same

    def _fits_original(self, schema: Any, value: Any) -> bool:
        return bool(self._original.evolve(schema=schema).is_valid(value))

    def _reference(self, schema: dict[str, Any], at: str) -> _Part:
        target = schema["$ref"]
        name = self._names.get(target)
        if name is None:
            name = self._define(target, at)
        part: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
        notes = keywords.notes(schema)
        if "description" in notes:  # nothing may stand beside a reference
            part = {"anyOf": [part], **notes}

        def back(value: Any) -> Any:  # looks its step up late: it may not be known yet
            return self._steps[name](value)

        return part, back

    def _define(self, target: str, at: str) -> str:
        referenced = keywords.lookup(self._root, target, at)
        last = unquote(target).rpartition("/")[2].strip("#")
        base = re.sub(r"[^A-Za-z0-9_-]", "_", last) or "root"
        name, number = base, 1
        while name in self._names.values():
            number += 1
            name = f"{base}_{number}"
        # Known before it is translated: it may lead to itself.
        self._names[target] = name
        self.definitions[name] = {}
        where = unquote(target).removeprefix("#")
        self.definitions[name], self._steps[name] = self._any(referenced, where)
        if self._is_endless(name):
            raise NotStrict("$ref", where, "leads back to itself with nothing in between")
        return name

    def _is_endless(self, name: str) -> bool:
        """True if a definition is no more than itself again."""
        seen: set[str] = set()
        pending = [self.definitions[name]]
        while pending:
            part = pending.pop()
            pending += part.get("anyOf", ())
            if "$ref" in part and (found := name_of(part)) not in seen:
                seen.add(found)
                pending.append(self.definitions[found])
        return name in seen

    def _any_of(self, schema: dict[str, Any], at: str) -> _Part:
        return self._union(schema, self._each(schema["anyOf"], f"{at}/anyOf"))

    def _one_of(self, schema: dict[str, Any], at: str) -> _Part:
        branches = schema["oneOf"]
        resolved = [self._resolved(branch, at) for branch in branches]
        if not distinct.are_distinct(resolved):
            raise NotStrict(
                "oneOf",
                at,
                "strict mode knows only anyOf, which would let pass what fits two of the schemas; "
                "give each its own type, or its own value of a property that all have",
            )
        return self._union(schema, self._each(branches, f"{at}/oneOf"))

    def _resolved(self, schema: Any, at: str) -> Any:
        seen: set[str] = set()
        while isinstance(schema, dict) and schema.keys() & keywords.ASSERTIONS == {"$ref"}:
            target = schema["$ref"]
            if target in seen:
                raise NotStrict("$ref", at, "leads only to itself")
            seen.add(target)
            schema = keywords.lookup(self._root, target, at)
        return schema

    def _all_of(self, schema: dict[str, Any], at: str) -> _Part:
        if len(schema["allOf"]) > 1:
            raise NotStrict("allOf", at, "strict mode does not know it; join the schemas to one")
        part, step = self._any(schema["allOf"][0], f"{at}/allOf/0")
        notes = keywords.notes(schema)
        if notes and "$ref" in part:
            part = {"anyOf": [part]}
        return {**part, **notes}, step

    def _each(self, schemas: Iterable[Any], at: str) -> list[_Part]:
        return [self._any(schema, f"{at}/{place}") for place, schema in enumerate(schemas)]

    def _union(self, schema: dict[str, Any], parts: Sequence[_Part]) -> _Part:
        forms = [part for part, _ in parts]

        def fits(at: int, value: Any) -> bool:
            strict = self._strict
            return strict is not None and bool(strict.evolve(schema=forms[at]).is_valid(value))

        step = union([step for _, step in parts], fits)
        return {"anyOf": forms, **keywords.notes(schema)}, step

    def _array(self, schema: dict[str, Any], at: str) -> _Part:
        if "items" not in schema:
            raise NotStrict("items", at, "is not given, so that any item fits; say what it holds")
        item, step = self._any(schema["items"], f"{at}/items")
        part = {"type": "array", "items": item, **keywords.bounds(schema, "array", at)}
        return {**part, **keywords.notes(schema)}, each(step)

    def _object(self, schema: dict[str, Any], at: str) -> _Part:
        others = schema.get("additionalProperties", True)
        if not schema.get("properties") and isinstance(others, dict) and others:
            return self._map(schema, others, at)
        if "properties" not in schema and others is not False:
            raise NotStrict(
                "additionalProperties",
                at,
                "lets any property pass; name the properties, or give the schema of their values",
            )
        keywords.refuse_for(schema, "record", at)
        properties = schema.get("properties", {})
        required = set(schema.get("required", ()))
        if unnamed := sorted(required - properties.keys()):
            raise NotStrict("required", at, f"names {unnamed[0]!r}, which is not in properties")
        translated = {
            name: self._property(
                one, keywords.inside(at, "properties", name), required=name in required
            )
            for name, one in properties.items()
            if one is not False or name in required
        }
        return (
            {
                "type": "object",
                "properties": {name: part for name, (part, _) in translated.items()},
                "required": list(translated),
                "additionalProperties": False,
                **keywords.notes(schema),
            },
            record({name: field for name, (_, field) in translated.items()}),
        )

    def _property(self, schema: Any, at: str, *, required: bool) -> tuple[dict[str, Any], Field]:
        part, step = self._any(schema, at)
        # A property with only one value may as well be written each time: it may tell apart the
        # schemas of a union.
        if required or distinct.is_single(schema) or self._takes_null(part):
            return part, Field(step)
        self.widened = self.changes = True
        return nullable(part), Field(step, drops_null=True)

    def _takes_null(self, part: Mapping[str, Any]) -> bool:
        if "$ref" in part:
            # A definition that is still being translated is empty: then it counts as no.
            return self._takes_null(self.definitions[name_of(part)])
        types = part.get("type", ())
        return "null" in ([types] if isinstance(types, str) else types) or any(
            self._takes_null(form) for form in part.get("anyOf", ())
        )

    def _map(self, schema: dict[str, Any], values: dict[str, Any], at: str) -> _Part:
        if schema.get("required"):
            raise NotStrict("required", at, "names properties of a map, which has none of its own")
        self.changes = True
        names: dict[str, Any] = {"type": "string"}
        if "propertyNames" in schema:
            names, _ = self._any(schema["propertyNames"], f"{at}/propertyNames")
        value, step = self._any(values, f"{at}/additionalProperties")
        entry = {
            "type": "object",
            "properties": {KEY: names, VALUE: value},
            "required": [KEY, VALUE],
            "additionalProperties": False,
        }
        return {"type": "array", "items": entry, **keywords.notes(schema)}, entries(step)


def _validator(schema: Mapping[str, Any] | bool) -> Validator:
    # Import on use: jsonschema costs 90 ms, and most runs have no schema.
    from jsonschema.validators import validator_for  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    cls: Any = validator_for(schema)  # the stubs know no schema that is true or false
    registry: Registry[Any] = Registry()  # an empty one: nothing may be fetched
    validator: Validator = cls(schema, registry=registry)
    return validator
