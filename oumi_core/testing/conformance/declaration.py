"""What an engine says of itself."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest

from oumi_core.configs import GenerationParams
from oumi_core.engine import CONTRACTS, Capabilities, Engine
from oumi_core.probe import probe
from oumi_core.registry import ENGINE
from oumi_core.testing.conformance.kit import EngineKit

__all__ = ["DeclarationTests"]

_KINDS = frozenset({"json", "regex", "choice", "grammar"})


class DeclarationTests(EngineKit):
    """The class and what it declares.

    Attributes:
        name: the name that its distribution announces, to be tested where it is installed; None
            for a class that no entry point leads to.
    """

    name: ClassVar[str | None] = None

    def test_it_is_an_engine_of_a_contract_that_core_serves(self) -> None:
        """A subclass of `Engine` whose `contract` is known."""
        cls = self.engine_class
        assert issubclass(cls, Engine), f"{cls.__name__} is no subclass of oumi_core.engine.Engine"
        served = f"{CONTRACTS.start} to {CONTRACTS.stop - 1}"
        assert cls.contract in CONTRACTS, f"contract is {cls.contract}; this core serves {served}"

    def test_its_capabilities_name_only_what_there_is(self) -> None:
        """Kinds of constraint, and fields of `GenerationParams`."""
        declared = self.capabilities()
        assert isinstance(declared, Capabilities), "capabilities must be a Capabilities"
        unknown = sorted(declared.guided - _KINDS)
        assert not unknown, f"capabilities.guided: no kinds of constraint: {unknown}"
        fields = {field.name for field in attrs.fields(GenerationParams)}
        unknown = sorted(declared.generation - fields)
        assert not unknown, f"capabilities.generation: no fields of GenerationParams: {unknown}"

    def test_its_summary_is_a_sentence(self) -> None:
        """`oumi engines show` prints the first line of the docstring."""
        lines = (self.engine_class.__dict__.get("__doc__") or "").strip().splitlines()
        assert lines, f"{self.engine_class.__name__} has no docstring to show to users"

    def test_its_name_leads_to_it(self) -> None:
        """The entry point loads in a process of its own, and gives this class."""
        if self.name is None:
            pytest.skip("no name is given")
        report = probe(ENGINE, self.name, timeout=self.patience)
        assert report.ok, f"{self.name!r} does not load: {report.error}"
        path = f"{self.engine_class.__module__}:{self.engine_class.__qualname__}"
        assert report.class_path == path, f"{self.name!r} leads to {report.class_path}, not {path}"
        unknown = list(report.unknown_hooks)
        assert not unknown, f"its module marks functions that no hook is named like: {unknown}"
