"""Constraints are held or refused, and every answer is checked against the original."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

from oumi_core import get_engine
from oumi_core.configs import GuidedDecodingParams
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.errors import ConfigError, EngineError, PluginError
from oumi_core.guided.constraint import Constraint, Grammar, JsonSchema, constraint_of
from oumi_core.types import Completion, Conversation, FailureKind, FinishReason, Message

if TYPE_CHECKING:
    from oumi_core.types.result import Result

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Parrot(Engine):
    """Claims to enforce everything, and says the prompt."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        guided=frozenset({"json", "regex", "choice", "grammar"})
    )

    async def complete(self, request: Request) -> Completion:
        text = request.conversation[-1].text
        cut = text.endswith("~")
        reason = FinishReason.LENGTH if cut else FinishReason.STOP
        return Completion(Message("assistant", text.removesuffix("~")), reason)


def result_of(text: str, **fields: Any) -> Result:
    with get_engine(Parrot, model="m", **fields) as engine:
        (result,) = engine.run([Conversation([Message("user", text)])])
    return result


@pytest.mark.parametrize(
    ("fields", "good", "bad"),
    [
        ({"json": SCHEMA}, '{"n": 1}', '{"n": "one"}'),
        ({"json": SCHEMA}, '{"n": 1}', "{'n': 1}"),
        ({"regex": "[0-9]{3}"}, "123", "1234"),
        ({"choice": ["yes", "no"]}, "yes", "Yes"),
        ({"grammar": 'root ::= "a" [0-9]+'}, "a12", "a"),
        ({"grammar": 'root ::= "a" [0-9]+'}, "a12", "b1"),
    ],
)
def test_an_answer_is_checked_against_its_constraint(
    fields: dict[str, Any], good: str, bad: str
) -> None:
    fine = result_of(good, **fields)
    assert fine.ok
    assert fine.checked is True
    assert fine.parsed == ({"n": 1} if "json" in fields else good)
    wrong = result_of(bad, **fields)
    assert wrong.error is not None
    assert wrong.error.kind is FailureKind.INVALID_OUTPUT
    assert wrong.completion is not None
    assert wrong.parsed is None


def test_a_truncated_answer_that_does_not_fit_is_truncated_not_invalid() -> None:
    result = result_of('{"n": ~', json=SCHEMA)
    assert result.error is not None
    assert result.error.kind is FailureKind.TRUNCATED
    assert "cut at generation.max_new_tokens, so that it is not JSON" in result.error.message


def test_a_cut_answer_that_fits_all_the_same_is_good() -> None:
    assert result_of("yes~", choice=["yes", "no"]).ok


@attrs.define
class Point:
    x: int
    y: int = 0


@dataclasses.dataclass
class Line:
    start: int
    end: int


@pytest.mark.parametrize(
    ("cls", "text", "value"),
    [(Point, '{"x": 1}', Point(1)), (Line, '{"start": 1, "end": 2}', Line(1, 2))],
)
def test_a_class_as_constraint_gives_instances(cls: type, text: str, value: object) -> None:
    assert result_of(text, json=cls).parsed == value


def test_a_pydantic_class_as_constraint_gives_instances_and_its_validators_count() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Product(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        name: str
        price: float = pydantic.Field(gt=0)

    assert result_of('{"name": "a", "price": 2}', json=Product).parsed == Product(name="a", price=2)
    failed = result_of('{"name": "a", "price": -2}', json=Product)
    assert failed.error is not None
    assert failed.error.kind is FailureKind.INVALID_OUTPUT


def test_a_kind_that_the_engine_does_not_enforce_is_refused_before_anything_is_sent() -> None:
    with get_engine("echo", model="m", regex="a+") as engine:
        with pytest.raises(ConfigError, match="does not enforce the constraint 'regex'"):
            engine.run([Conversation([Message("user", "aaa")])])


def test_an_engine_may_look_closer_and_refuse_before_the_first_row() -> None:
    class Picky(Parrot):
        async def check_constraint(self, constraint: Constraint) -> None:
            assert isinstance(constraint, JsonSchema)
            raise ConfigError("generation.guided_decoding.json: keyword 'not' at /not")

        async def complete(self, request: Request) -> Completion:
            raise AssertionError

    with get_engine(Picky, model="m", json={"not": {}}) as engine:
        with pytest.raises(ConfigError, match="'not' at /not"):
            engine.infer([Conversation([Message("user", "x")])])


def test_what_the_engine_could_not_hold_is_no_matter_where_it_is_not_left_to_it() -> None:
    class Picky(Parrot):
        async def check_constraint(self, constraint: Constraint) -> None:
            raise ConfigError("not this one")

    with get_engine(Picky, model="m", regex="[0-9]+", backend="reask", max_reasks=0) as engine:
        (result,) = engine.run([Conversation([Message("user", "x")])])
    assert result.error is not None
    assert result.error.kind is FailureKind.INVALID_OUTPUT


def test_an_unknown_backend_is_an_error_that_lists_what_there_is() -> None:
    with get_engine(Parrot, model="m", regex="a", backend="nativ") as engine:
        with pytest.raises(PluginError, match="native"):
            engine.infer([Conversation([Message("user", "a")])])


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a JSON Schema at /type"):
        constraint_of(GuidedDecodingParams(json={"type": "objekt"}))


def test_a_grammar_that_is_none_is_refused_before_anything_is_sent() -> None:
    pytest.importorskip("llguidance")
    with get_engine(Parrot, model="m", grammar="root ::= (") as engine:
        with pytest.raises(ConfigError, match="not a grammar in GBNF"):
            engine.run([Conversation([Message("user", "x")])])


def test_a_reference_to_the_network_is_never_followed() -> None:
    schema = {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    with pytest.raises(ConfigError, match=r"\$ref at /properties/a leads to 'http://127.0.0.1:9"):
        result_of("{}", json=schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/n", "$defs": {"n": SCHEMA}},
        {"$ref": "#n", "$defs": {"n": {"$anchor": "n", **SCHEMA}}},
        {"$id": "http://localhost/s", "$ref": "n", "$defs": {"n": {"$id": "n", **SCHEMA}}},
        {"properties": {"next": {"$ref": "#"}}, **SCHEMA},
    ],
)
def test_references_inside_the_schema_are_followed(schema: dict[str, Any]) -> None:
    assert result_of('{"n": 1}', json=schema).ok
    assert not result_of('{"n": "x", "next": {"n": 2}}', json=schema).ok


def test_a_constraint_given_as_text_or_with_a_title_has_a_name_that_providers_take() -> None:
    named = constraint_of(GuidedDecodingParams(json={"title": "Größe & Co", "type": "object"}))
    assert isinstance(named, JsonSchema)
    assert named.name == "Gr__e___Co"
    assert constraint_of(GuidedDecodingParams(grammar='root ::= "a"')) == Grammar('root ::= "a"')


def test_a_streamed_answer_is_checked_too() -> None:
    with get_engine(Parrot, model="m", choice=["yes"]) as engine:
        stream = engine.stream(Conversation([Message("user", "yes")]))
        assert "".join(stream) == "yes"
        assert stream.result is not None
        assert stream.result.parsed == "yes"
        with pytest.raises(EngineError, match="not one of"):
            list(engine.stream(Conversation([Message("user", "no")])))


class Learner(Engine):
    """Enforces nothing; answers wrongly until it has been told so often enough."""

    seen: ClassVar[list[Request]] = []
    learns_after: ClassVar[int] = 1

    async def complete(self, request: Request) -> Completion:
        self.seen.append(request)
        wrong = len(self.seen) <= self.learns_after
        return Completion(Message("assistant", "maybe" if wrong else '{"n": 7}'), FinishReason.STOP)


@pytest.mark.parametrize(
    ("learns_after", "ok", "attempts"), [(0, True, 1), (2, True, 3), (3, False, 3)]
)
def test_reask_sends_the_faults_back_at_most_as_often_as_it_may(
    learns_after: int, ok: bool, attempts: int
) -> None:
    Learner.seen.clear()
    Learner.learns_after = learns_after
    asked = Conversation([Message("user", "How many?")])
    with get_engine(Learner, model="m", json=SCHEMA, backend="reask") as engine:
        (result,) = engine.run([asked])
    assert (result.ok, result.attempts) == (ok, attempts)
    assert len(Learner.seen) == attempts
    assert result.conversation.messages[0] is asked.messages[0]
    if ok:
        assert result.parsed == {"n": 7}
        assert [message.role for message in result.conversation.messages] == ["user", "assistant"]


def test_reask_tells_the_model_what_is_wanted_and_what_was_wrong() -> None:
    Learner.seen.clear()
    Learner.learns_after = 1
    with get_engine(Learner, model="m", json=SCHEMA, backend="reask") as engine:
        engine.infer([Conversation([Message("system", "Be brief."), Message("user", "How many?")])])
    first, second = (request.conversation.messages for request in Learner.seen)
    assert [message.role for message in first] == ["system", "user"]
    assert first[1].text.startswith("How many?\n\nAnswer with nothing but JSON that fits")
    assert '"required":["n"]' in first[1].text
    assert [message.text for message in second[2:3]] == ["maybe"]
    assert second[3].text.startswith("Your answer is not JSON: ")
    assert all(request.constraint is None for request in Learner.seen)


@pytest.mark.parametrize(
    "fields", [{"regex": "[0-9]+"}, {"choice": ["yes", "no"]}, {"grammar": 'root ::= "a"'}]
)
def test_reask_takes_every_kind_of_constraint(fields: dict[str, Any]) -> None:
    Learner.seen.clear()
    Learner.learns_after = 9
    with get_engine(Learner, model="m", backend="reask", max_reasks=1, **fields) as engine:
        (result,) = engine.run([Conversation([Message("user", "x")])])
    assert result.error is not None
    assert result.error.kind is FailureKind.INVALID_OUTPUT
    assert len(Learner.seen) == 2
