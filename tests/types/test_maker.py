"""What makes frozen instances fast makes the same ones."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest

from oumi_core.configs import GenerationParams, ModelParams
from oumi_core.engine import Request
from oumi_core.types.completion import Usage
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.maker import maker_of, unlocked
from oumi_core.types.result import Result

ROW = Conversation([Message(Role.USER, "What is 2+2?")])
REQUEST = (ROW, ModelParams(model_name="m"), GenerationParams(), None, "1")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Usage, (1, 2)),
        (Usage, (1, 2, 4, None, 7)),
        (Request, REQUEST),
        (Result, (3, ROW)),
        (Result, (3, ROW, None, None, {"a": 1}, True, 2, 0.5, False, Usage(1, 1), ValueError("x"))),
    ],
)
def test_what_is_made_is_what_the_constructor_makes(kind: type, values: tuple[object, ...]) -> None:
    made, called = maker_of(kind)(*values), kind(*values)

    assert type(made) is kind
    assert made == called
    assert repr(made) == repr(called)
    for field in attrs.fields(kind):
        assert getattr(made, field.name) is getattr(called, field.name)


def test_fields_go_by_name_too() -> None:
    assert maker_of(Usage)(completion_tokens=2, cached_tokens=1) == Usage(0, 2, cached_tokens=1)


def test_arguments_are_those_of_the_constructor() -> None:
    with pytest.raises(TypeError, match="index"):
        maker_of(Result)()  # type: ignore[call-arg]  # what is shown


def test_what_is_made_is_as_frozen_as_any_other() -> None:
    made = maker_of(Usage)(1, 2)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.prompt_tokens = 3  # type: ignore[misc]  # what is shown
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del made.prompt_tokens


def test_what_is_made_can_be_copied_pickled_and_changed_by_evolve() -> None:
    made = maker_of(Usage)(1, 2)

    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == Usage(1, 2)  # noqa: S301 - ours
    assert attrs.evolve(made, completion_tokens=5, total_tokens=6) == Usage(1, 5)


@attrs.frozen
class Converting:
    """Its constructor converts."""

    value: int = attrs.field(converter=int)


@attrs.frozen
class Checking:
    """Its constructor checks."""

    value: int = attrs.field(validator=attrs.validators.gt(0))


@attrs.frozen
class Finishing:
    """Its constructor does something at the end."""

    value: int

    def __attrs_post_init__(self) -> None:
        """The end."""


@pytest.mark.parametrize("kind", [Converting, Checking, Finishing, Message])
def test_a_class_whose_constructor_does_more_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        maker_of(kind)


def test_an_unlocked_instance_becomes_one_of_its_class() -> None:
    draft = object.__new__(unlocked(Finishing))
    draft.value = 3
    draft.__class__ = Finishing

    assert draft == Finishing(3)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        draft.value = 4
