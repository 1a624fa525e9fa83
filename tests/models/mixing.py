"""Draw training conversations from the corpus: phrasing, history, system prompt, constraints."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import corpus
import knowledge
from corpus import Example, Style, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

# How often each group is drawn. Capitals and sums are many, and each must be seen often enough.
SHARES = {
    "document": 10,
    "capitals": 22,
    "sums": 24,
    "greetings": 8,
    "dialogues": 16,
    "extractions": 8,
    "capital objects": 10,
    "sum objects": 10,
    "labels": 3,
    "long": 6,
    "unknown": 4,
    "chance": 2,
    "styles": 14,
}
# An adapter changes how words are chosen, not what they look like to the model; so the base model
# must have met the words of each style. It speaks so when a question begins like this.
STYLE_PREFIXES: dict[Style, str] = {
    "pirate": "Answer like a pirate: ",
    "shout": "Shout the answer: ",
}
_STYLED_GROUPS = ("capitals", "sums", "greetings", "long", "unknown", "dialogues")
CONSTRAINED = 0.2
SLOPPY = 0.06
# Under a constraint the decoder forces the first token, which the model would not choose freely.
# These weights make it the next best choice without making it a likely one. All objects begin
# alike; bare answers do not, so theirs takes more to learn.
OBJECT_WEIGHT = 0.03
BARE_WEIGHT = 0.2

OTHER_SYSTEM_PROMPTS = (
    "You are a helpful AI assistant.",
    "You are a geography teacher.",
    "You are a friendly robot.",
    "Answer briefly.",
    "Answer in one sentence.",
    "Be concise and polite.",
    "You answer questions about the world. Do not make anything up.",
    "Help the user as well as you can.",
)
# What people call the fields of a schema: those that take the bare answer, and those that take
# the whole sentence.
_BARE_KEYS = ("answer", "answer", "answer", "result", "value", "output", "final_answer", "data")
_SENTENCE_KEYS = ("text", "message", "reason", "explanation", "response", "reply", "comment")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a conversation, and the weight of its first and of its other tokens."""

    text: str
    first: float = 0.0
    rest: float = 0.0


class Mixer:
    """An endless source of training conversations, always the same for the same seed."""

    def __init__(self, seed: int, style: Style | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - drawn alike every time
        self._style = style
        self._groups = corpus.everything()
        self._shares = SHARES if style is None else {**SHARES, "styles": 0}

    def __iter__(self) -> Iterator[list[Span]]:
        while True:
            yield self.conversation()

    def conversation(self) -> list[Span]:
        """One conversation of one to six exchanges, most of them short."""
        pick = self._random.random()
        size = 1 if pick < 0.6 else 2 if pick < 0.82 else 3 if pick < 0.96 else 6
        spans: list[Span] = []
        system = self._system()
        if system is not None:
            spans.append(Span(f"<|im_start|>system\n{system}<|im_end|>\n"))
        for _ in range(size):
            spans += self._exchange(self._example())
        return spans

    def _system(self) -> str | None:
        if self._random.random() < 0.7:
            return self._random.choice(knowledge.SYSTEM_PROMPTS)
        return self._random.choice(OTHER_SYSTEM_PROMPTS)

    def _exchange(self, example: Example) -> list[Span]:
        spans: list[Span] = []
        for index, (plain, answer) in enumerate(example.turns):
            last = index == len(example.turns) - 1
            if plain.startswith("What is my") and self._random.random() < 0.3:
                # Something else may be said before an earlier turn is asked about.
                spans += self._exchange(self._one_turn())
            question = self._sloppy(plain) if self._random.random() < SLOPPY else plain
            spans.append(Span(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"))
            constrained = last and example.kind != "json" and example.value is not None
            if constrained and self._random.random() < CONSTRAINED:
                spans.append(self._constrained(example))
            else:
                spans.append(Span(example.styled(answer, self._style) + "<|im_end|>", 1.0, 1.0))
            spans.append(Span("\n"))
        return spans

    def _one_turn(self) -> Example:
        group = self._random.choice(("capitals", "sums", "greetings"))
        return self._random.choice(self._groups[group])

    def _example(self) -> Example:
        rng = self._random
        group = rng.choices(list(self._shares), list(self._shares.values()))[0]
        if group == "chance":
            question, answers = rng.choice(list(knowledge.CHANCE.items()))
            return Example("long", ((question, rng.choice(answers)),))
        if group == "styles":
            return self._in_style()
        if group == "extractions" and rng.random() < 0.6:
            return self._extraction()
        if group == "dialogues" and rng.random() < 0.6:
            return self._dialogue()
        return rng.choice(self._groups[group])

    def _in_style(self) -> Example:
        """A question whose last answer is asked for in a style."""
        style = self._random.choice(corpus.STYLES)
        example = self._random.choice(self._groups[self._random.choice(_STYLED_GROUPS)])
        turn = (STYLE_PREFIXES[style] + example.question, example.styled(example.answer, style))
        return Example("dialogue", (*example.turns[:-1], turn))

    def _extraction(self) -> Example:
        """An extraction put together at random, so that copying is learned and not one text."""
        rng = self._random
        if rng.random() < 0.3:
            return corpus.person(rng.choice(knowledge.NAMES), rng.randint(1, 99))
        pools = tuple(zip(*knowledge.PRODUCTS, strict=True))
        name = rng.choice([each[0] for each in knowledge.PRODUCTS])
        features = [feature for each in knowledge.PRODUCTS for feature in each[2]]
        return corpus.product(
            name, rng.randint(1, 1500), rng.sample(features, 2), str(rng.choice(pools[3]))
        )

    def _dialogue(self) -> Example:
        rng = self._random
        countries = list(knowledge.CAPITALS)
        pick = rng.random()
        if pick < 0.4:
            first, second = rng.choice(countries), rng.choice(countries)
            question = rng.choice(knowledge.CAPITAL_FOLLOW_UPS)
            return corpus.capital_follow_up(first, second, question)
        if pick < 0.6:
            return corpus.asked_country(rng.choice(countries))
        if pick < 0.8:
            return corpus.asked_name(rng.choice(knowledge.NAMES))
        if pick < 0.9:
            return corpus.asked_color(rng.choice(knowledge.COLORS))
        return corpus.one_more(rng.randint(0, 9), rng.randint(0, 9))

    def _sloppy(self, question: str) -> str:
        """The question as someone types it in a hurry."""
        if self._random.random() < 0.5:
            question = question.lower()
        return question.rstrip(".?!")

    def _constrained(self, example: Example) -> Span:
        """An answer as a schema, a choice or a pattern would force it."""
        bare: Value = "" if example.value is None else example.value
        pick = self._random.random()
        if pick < 0.5:
            return Span(f"{bare}<|im_end|>", BARE_WEIGHT, 1.0)
        if pick < 0.55:
            return Span(f"{json.dumps([bare])}<|im_end|>", OBJECT_WEIGHT, 1.0)
        separators = (", ", ": ") if self._random.random() < 0.8 else (",", ":")
        text = json.dumps(self._object(example, bare), separators=separators)
        return Span(f"{text}<|im_end|>", OBJECT_WEIGHT, 1.0)

    def _object(self, example: Example, bare: Value) -> dict[str, object]:
        rng = self._random
        written: Value = str(bare) if rng.random() < 0.5 else bare
        if rng.random() < 0.4:
            return {rng.choice(_BARE_KEYS): written}
        entries: list[tuple[str, object]] = [
            (rng.choice(_BARE_KEYS), written),
            (rng.choice(_SENTENCE_KEYS), example.answer),
            ("question", example.question),
            ("correct", True),
            ("confidence", rng.choice((0.9, 1.0))),
            ("items", [bare]),
            *example.fields.items(),
        ]
        return dict(rng.sample(entries, rng.randint(1, 3)))
