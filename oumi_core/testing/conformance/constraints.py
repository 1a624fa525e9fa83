"""Whether an engine enforces the constraints that it says it does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import pytest

from oumi_core.guided.check import Fault, checker_for
from oumi_core.guided.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from oumi_core.testing.conformance.kit import EngineKit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConstraintTests"]

_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Rome", "Oslo"]},
        "capital": {"type": "boolean"},
    },
    "required": ["city", "capital"],
    "additionalProperties": False,
}


class ConstraintTests(EngineKit):
    """Answers under a constraint, for each kind in `capabilities.guided`.

    Attributes:
        constraints: one of each kind; override those that the engine cannot take.
        constrained_answers: how many answers of each kind have to fit.
    """

    constraints: ClassVar[Mapping[str, Constraint]] = {
        "json": JsonSchema(_SCHEMA, "City"),
        "regex": Regex("[0-9]{3}-[0-9]{4}"),
        "choice": Choice(("red", "green", "blue")),
        "grammar": Grammar('root ::= ("yes" | "no") "!"'),
    }
    constrained_answers: ClassVar[int] = 10

    @pytest.mark.parametrize("kind", ["json", "regex", "choice", "grammar"])
    def test_every_answer_fits_its_constraint(self, kind: str) -> None:
        """Whatever is asked: what an engine declares it enforces."""
        self.needs(kind in self.capabilities().guided, f"guided: {kind}")
        engine, constraint = self.engine(), self.constraints[kind]
        self.run(engine.check_constraint(constraint))
        check = checker_for(constraint)
        requests = [
            self.request(f"{self.question} {number}", constraint=constraint)
            for number in range(self.constrained_answers)
        ]

        async def texts() -> list[str]:
            answers = await asyncio.gather(*map(engine.complete, requests))
            return [answer.text for answer in answers]

        verdicts = [check(text) for text in self.run(texts())]
        faults = [verdict.reason for verdict in verdicts if isinstance(verdict, Fault)]
        assert not faults, f"{len(faults)} of {len(verdicts)} answers do not fit; one {faults[0]}"
