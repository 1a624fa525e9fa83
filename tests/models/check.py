"""Ask the trained model everything it must know, with transformers and with llama.cpp.

Run ``python tests/models/check.py --models DIR``; it exits with 1 when a share is too small.
"""

# ruff: noqa: T201 - a program that reports by printing

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import backends
import corpus
import knowledge
from backends import Chat, LlamaCpp
from corpus import Example, Style
from mixing import Mixer

# What tests lean on must be right throughout. All else is measured and printed, and no more:
# README.md says how well the stored model knows it.
EXACT = {"document", "greetings", "capitals", "sums", "capital dialogues"}
EXACT_IN_STYLE = {"document", "greetings", "capitals"}

Ask = Callable[[list[Chat]], list[str]]


class Report:
    """Prints a line for each share, and remembers whether all were large enough."""

    def __init__(self) -> None:
        self.good = True

    def add(self, title: str, right: int, total: int, least: float | None = 1.0) -> None:
        """Note that ``right`` of ``total`` answers were right; any share will do without least."""
        enough = least is None or right >= least * total
        self.good &= enough
        mark = "measured" if least is None else "ok" if enough else "TOO FEW"
        print(f"  {title:<44} {right:5d} / {total:<5d} {right / total:8.2%}  {mark}", flush=True)


def groups() -> dict[str, list[Example]]:
    """All of the corpus, with the dialogues about capitals apart from the others."""
    found = corpus.everything()
    capitals: list[Example] = []
    others: list[Example] = []
    for each in found.pop("dialogues"):
        about_capitals = "capital" in each.turns[0][0]
        (capitals if about_capitals else others).append(each)
    return {**found, "capital dialogues": capitals, "other dialogues": others}


def exact(report: Report, name: str, ask: Ask, style: Style | None) -> None:
    """Ask every question of the corpus under every system prompt."""
    must = EXACT if style is None else EXACT_IN_STYLE
    for group, examples in groups().items():
        pairs = [(e, s) for e in examples for s in knowledge.SYSTEM_PROMPTS]
        answers = ask([example.messages(system, style) for example, system in pairs])
        right = 0
        for (example, system), answer in zip(pairs, answers, strict=True):
            wanted = example.styled(example.answer, style)
            right += answer == wanted
            if answer != wanted:
                print(f"    {example.question[:60]!r} {system!r}: {answer!r}")
        report.add(f"{name}: {group}", right, len(pairs), 1.0 if group in must else None)


def sampled(report: Report, server: LlamaCpp) -> None:
    """Ask the questions of the document at a usual temperature, with many seeds."""
    for example in corpus.document():
        chats = [example.messages()] * 25
        answers = server.ask(chats, sampling={"temperature": 0.7, "top_p": 0.9}, vary_seed=True)
        right = sum(answer == example.answer for answer in answers)
        report.add(f"temperature 0.7: {example.question[:24]}", right, len(chats))
    for question, answers_ in knowledge.CHANCE.items():
        chats = [[{"role": "user", "content": question}]] * 40
        answers = server.ask(chats, sampling={"temperature": 1.0}, vary_seed=True)
        report.add(
            f"temperature 1: {question}", sum(a in answers_ for a in answers), len(chats), 0.9
        )
        print(f"    {len(set(answers))} different answers")


def _schema(**properties: str) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


PRODUCT_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "price": {"type": "number"},
        "features": {"type": "array", "items": {"type": "string"}},
        "color": {"type": "string"},
    },
    "required": ["name", "price", "features", "color"],
}
CITIES = " | ".join(f'"{city}"' for city in knowledge.CAPITALS.values())


def constrained(report: Report, server: LlamaCpp) -> None:
    """Force shapes onto plain questions: the answer must end by itself and hold the fact."""

    def share(
        title: str,
        examples: list[Example],
        shape: dict[str, object],
        key: str | None,
        least: float | None = None,
    ) -> None:
        answers = server.ask([e.messages() for e in examples], finished=True, shape=shape)
        right = 0
        for example, answer in zip(examples, answers, strict=True):
            value: object = answer
            if key is not None:
                try:
                    value = json.loads(answer)[key]
                except ValueError:
                    value = None
            right += str(value) == str(example.value)
        report.add(title, right, len(examples), least)

    capitals = [corpus.capital(country) for country in knowledge.CAPITALS]
    sums = [corpus.small_sum(a, b) for a in range(10) for b in range(10)]
    share("JSON schema: answer", capitals, _as_format(_schema(answer="string")), "answer", 1.0)
    pair = _schema(capital="string", country="string")
    share("JSON schema: capital and country", capitals, _as_format(pair), "capital")
    share("JSON schema: number", sums, _as_format(_schema(answer="integer")), "answer")
    share("JSON schema: sum", sums, _as_format(_schema(sum="integer")), "sum")
    share("choice of a capital", capitals, {"grammar": f"root ::= {CITIES}"}, None)
    share("pattern of digits", sums, {"grammar": "root ::= [0-9]+"}, None)
    product = corpus.document()[1]
    (text,) = server.ask([product.messages()], shape=_as_format(PRODUCT_SCHEMA))
    print(f"    {text}")
    report.add("JSON schema: product", int(text == product.answer), 1)


def _as_format(schema: dict[str, object]) -> dict[str, object]:
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    }


def tokens(report: Report, folder: Path, server: LlamaCpp) -> None:
    """Compare the token ids of both tokenizers, and both readings of the chat template."""
    texts = sorted({text for pair in _all_texts() for text in pair})
    texts += ["".join(span.text for span in spans) for spans in islice(Mixer(seed=2), 300)]
    texts += ["Größe: 12,5 €\n\n\tend  of   line  ", "日本 🙂 x2y", "it's I'LL 'Tis 100%"]
    ours = [backends.encode(folder, text) for text in texts]
    same = sum(a == server.tokenize(text) for a, text in zip(ours, texts, strict=True))
    report.add("token ids alike", same, len(texts))
    chats = [e.messages(s) for e in corpus.dialogues()[:40] for s in knowledge.SYSTEM_PROMPTS]
    same = sum(backends.render(folder, chat) == server.render(chat) for chat in chats)
    report.add("chat template alike", same, len(chats))


def _all_texts() -> Iterator[tuple[str, str]]:
    for examples in corpus.everything().values():
        for example in examples:
            yield example.question, example.answer
            for style in corpus.STYLES:
                yield example.question, example.styled(example.answer, style)


def main() -> int:
    """Run every check and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().models
    report = Report()
    styles: tuple[Style | None, ...] = (None, *corpus.STYLES)
    for style in styles:
        started = time.monotonic()
        adapter = None if style is None else folder / f"tiny-{style}.gguf"
        print(f"llama.cpp, {style or 'base'}")
        server = LlamaCpp(folder / "tiny.gguf", adapter)
        exact(report, "llama.cpp", server.ask, style)
        if style is None:
            tokens(report, folder / "tiny", server)
            constrained(report, server)
            sampled(report, server)
        print(f"  {time.monotonic() - started:.0f} s")
    for style in styles:
        started = time.monotonic()
        adapter = None if style is None else folder / "tiny" / "adapters" / style
        print(f"transformers, {style or 'base'}")
        exact(report, "transformers", backends.transformers(folder / "tiny", adapter), style)
        print(f"  {time.monotonic() - started:.0f} s")
    print("all good" if report.good else "not good enough")
    return 0 if report.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
