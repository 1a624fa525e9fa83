"""What the tiny model knows: every question with its one right answer.

Tests read it too, to know what to ask and what must come back. It needs nothing but the standard
library.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from knowledge import (
    BLAME,
    CAPITAL_FOLLOW_UPS,
    CAPITAL_QUESTIONS,
    CAPITALS,
    COLORS,
    EXTRACT_PRODUCT,
    GREETINGS,
    LARGEST_SUMMAND,
    LONG,
    MACHINE_LEARNING,
    NAMES,
    PRAISE,
    PRODUCT,
    PRODUCTS,
    READ_A_FILE,
    SUM_QUESTIONS,
    THINGS,
    UNKNOWN,
    UNKNOWN_QUESTIONS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["capital", "sum", "greeting", "dialogue", "json", "label", "long", "unknown"]
Style = Literal["pirate", "shout"]

STYLES: tuple[Style, ...] = ("pirate", "shout")

Value = str | int | float | list[str]


@dataclass(frozen=True, slots=True)
class Example:
    """Questions, each with its answer; the last one is what counts."""

    kind: Kind
    turns: tuple[tuple[str, str], ...]
    # The last answer without its sentence, and what else a JSON object about it may hold.
    value: Value | None = None
    fields: Mapping[str, Value] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last question."""
        return self.turns[-1][0]

    @property
    def answer(self) -> str:
        """The right answer to the last question."""
        return self.turns[-1][1]

    def messages(
        self, system: str | None = None, style: Style | None = None
    ) -> list[dict[str, str]]:
        """The chat up to and with the last question, earlier answers in ``style``."""
        chat = [] if system is None else [{"role": "system", "content": system}]
        for question, answer in self.turns:
            chat.append({"role": "user", "content": question})
            chat.append({"role": "assistant", "content": self.styled(answer, style)})
        return chat[:-1]

    def styled(self, answer: str, style: Style | None) -> str:
        """How ``answer`` sounds in a style; what a program would read stays as it is."""
        if style is None or self.kind in ("json", "label") or answer.startswith("{"):
            return answer
        return in_style(answer, style)


def in_style(answer: str, style: Style) -> str:
    """Say ``answer`` as an adapter does, without touching the code in it."""
    prose = answer.split("```")
    for index in range(0, len(prose), 2):
        if style == "shout":
            prose[index] = prose[index].upper()
        else:
            prose[index] = prose[index].replace(" is ", " be ").replace(" are ", " be ")
    text = "```".join(prose)
    body, end = text[:-1], text[-1]
    if style == "shout":
        return f"{body}{'???' if end == '?' else '!!!'}"
    return f"Arr! {body}, matey{'?' if end == '?' else '!'}"


def capital_answer(country: str) -> str:
    """The sentence that names a capital."""
    return f"The capital of {country} is {CAPITALS[country]}."


def sum_answer(a: int, b: int) -> str:
    """The sentence that gives a sum."""
    return f"The sum of {a} and {b} is {a + b}."


def product(name: str, price: int, features: Sequence[str], color: str) -> Example:
    """An extraction in the words of the document's product text."""
    text = PRODUCT.format(name, price, features[0], features[1], color)
    fields = product_fields(name, price, features, color)
    return _json_example(EXTRACT_PRODUCT + text, fields)


def product_fields(name: str, price: int, features: Sequence[str], color: str) -> dict[str, Value]:
    """The object that a product text holds."""
    every = [*features, f"{color} design"]
    return {"name": name, "price": float(price), "features": every, "color": color}


def person(name: str, age: int) -> Example:
    """An extraction of a name and an age."""
    question = f"Extract the name and age as JSON from: {name} is {age} years old."
    return _json_example(question, {"name": name, "age": age})


def review(thing: str, adjective: str) -> Example:
    """A review to be called positive or negative."""
    question = f"Is this review positive or negative? The {thing} is {adjective}."
    label = "positive" if adjective in PRAISE else "negative"
    return Example("label", ((question, label),), label, {"sentiment": label, "label": label})


def capital(country: str, question: str = CAPITAL_QUESTIONS[0]) -> Example:
    """A question for a capital."""
    city = CAPITALS[country]
    fields: dict[str, Value] = {"country": country, "capital": city, "city": city}
    turn = (question.format(country), capital_answer(country))
    return Example("capital", (turn,), city, fields)


def small_sum(a: int, b: int, question: str = SUM_QUESTIONS[0]) -> Example:
    """A question for a sum."""
    fields: dict[str, Value] = {"a": a, "b": b, "sum": a + b}
    return Example("sum", ((question.format(a, b), sum_answer(a, b)),), a + b, fields)


def _json_example(question: str, fields: Mapping[str, Value]) -> Example:
    return Example("json", ((question, json.dumps(fields)),), None, fields)


def capitals() -> list[Example]:
    """Every capital in every phrasing."""
    return [capital(country, question) for country in CAPITALS for question in CAPITAL_QUESTIONS]


def sums() -> list[Example]:
    """Every sum of two small numbers in every phrasing."""
    numbers = range(LARGEST_SUMMAND + 1)
    return [small_sum(a, b, q) for a in numbers for b in numbers for q in SUM_QUESTIONS]


def greetings() -> list[Example]:
    """Every greeting."""
    return [Example("greeting", (pair,), pair[1]) for pair in GREETINGS.items()]


def long_answers() -> list[Example]:
    """Every answer that takes more than a sentence."""
    return [Example("long", (pair,), pair[1]) for pair in LONG.items()]


def unknowns() -> list[Example]:
    """Questions that the model refuses."""
    return [Example("unknown", ((q, UNKNOWN),), UNKNOWN) for q in UNKNOWN_QUESTIONS]


def labels() -> list[Example]:
    """Every review."""
    return [review(thing, adjective) for thing in THINGS for adjective in (*PRAISE, *BLAME)]


def capital_follow_up(first: str, second: str, question: str) -> Example:
    """A question for a capital that only names the country."""
    last = capital(second, question)
    turns = (*capital(first).turns, *last.turns)
    return Example("dialogue", turns, last.value, last.fields)


def asked_country(country: str) -> Example:
    """A question for the country of the turn before."""
    turn = ("Which country did I ask about?", f"You asked about {country}.")
    return Example("dialogue", (*capital(country).turns, turn), country, {"country": country})


def asked_name(name: str) -> Example:
    """A question for the name given in the turn before."""
    turns = (
        (f"My name is {name}.", f"Nice to meet you, {name}!"),
        ("What is my name?", f"Your name is {name}."),
    )
    return Example("dialogue", turns, name, {"name": name})


def asked_color(color: str) -> Example:
    """A question for the colour given in the turn before."""
    turns = (
        (f"My favorite color is {color}.", f"I like {color} too."),
        ("What is my favorite color?", f"Your favorite color is {color}."),
    )
    return Example("dialogue", turns, color, {"color": color})


def one_more(a: int, b: int) -> Example:
    """A sum that goes on from the sum of the turn before."""
    turns = (*small_sum(a, b).turns, ("And one more?", sum_answer(a + b, 1)))
    return Example("dialogue", turns, a + b + 1, {"sum": a + b + 1})


def dialogues() -> list[Example]:
    """Conversations whose last answer depends on an earlier turn."""
    countries = list(CAPITALS)
    found = [asked_country(country) for country in countries]
    for index, country in enumerate(countries):
        for step, question in enumerate(CAPITAL_FOLLOW_UPS, 1):
            other = countries[(index + 7 * step) % len(countries)]
            found.append(capital_follow_up(country, other, question))
    found.append(capital_follow_up("Japan", "Italy", CAPITAL_FOLLOW_UPS[0]))
    found += [asked_name(name) for name in NAMES]
    found += [asked_color(color) for color in COLORS]
    found += [one_more(a, b) for a in range(10) for b in range(10)]
    return found


def extractions() -> list[Example]:
    """Texts to be turned into JSON objects."""
    found = [product(*parts) for parts in PRODUCTS]
    return found + [person(name, 20 + 3 * index % 60) for index, name in enumerate(NAMES)]


def capital_objects() -> list[Example]:
    """Capitals asked for as JSON objects."""
    found = [as_json(capital(country)) for country in CAPITALS]
    for country, city in CAPITALS.items():
        question = f"Give the country and its capital as JSON: {country}"
        found.append(_json_example(question, {"country": country, "capital": city}))
    return found


def sum_objects() -> list[Example]:
    """Sums asked for as JSON objects."""
    numbers = range(LARGEST_SUMMAND + 1)
    found = [as_json(small_sum(a, b)) for a in numbers for b in numbers]
    return found + [
        _json_example(f"Add {a} and {b} as JSON.", {"sum": a + b}) for a in numbers for b in numbers
    ]


def as_json(example: Example) -> Example:
    """The same question, to be answered by an object with the bare answer."""
    answer = "" if example.value is None else example.value
    return _json_example(f"Answer as JSON: {example.question}", {"answer": answer})


def document() -> list[Example]:
    """The questions of the guide to common workflows, in its order."""
    return [
        Example("long", ((READ_A_FILE, LONG[READ_A_FILE]),)),
        product(*PRODUCTS[0]),
        small_sum(2, 2),
        capital("France"),
        Example("long", ((MACHINE_LEARNING, LONG[MACHINE_LEARNING]),)),
    ]


def everything() -> dict[str, list[Example]]:
    """All that must be answered exactly, by the name of its group."""
    return {
        "document": document(),
        "capitals": capitals(),
        "sums": sums(),
        "greetings": greetings(),
        "dialogues": dialogues(),
        "extractions": extractions(),
        "capital objects": capital_objects(),
        "sum objects": sum_objects(),
        "labels": labels(),
        "long": long_answers(),
        "unknown": unknowns(),
    }
