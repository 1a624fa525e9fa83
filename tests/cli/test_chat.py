"""`oumi infer` as a chat, on a terminal and over a pipe, and for one question."""

from __future__ import annotations

import json
import stat
import time
from typing import Any

import pytest

CHAT = ("infer", "-c", "stage.yaml")
PIPED = (*CHAT, "-i")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


# On a terminal.


def test_a_terminal_without_an_input_is_a_chat_that_remembers(here: Any) -> None:
    with here.on_terminal(*CHAT) as screen:
        assert "demo on stage" in screen.read_until("> ")
        screen.type("hello\n")
        assert "hello\nhello" in screen.read_until("> ")
        screen.type("recall\n")
        screen.read_until("user=hello assistant=hello user=recall")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.end() == 0


def test_ctrl_c_stops_the_answer_and_what_was_said_is_remembered(here: Any) -> None:
    with here.on_terminal(*CHAT) as screen:
        screen.read_until("> ")
        screen.type("forever\n")
        screen.read_until("word3 ")
        screen.type("\x03")
        screen.read_until("(stopped; what was said is remembered)")
        screen.read_until("> ")
        screen.type("recall\n")
        screen.read_until("user=forever assistant=word0 word1 word2 word3")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.end() == 0


def test_ctrl_c_before_the_first_word_forgets_the_turn(here: Any) -> None:
    with here.on_terminal(*CHAT) as screen:
        screen.read_until("> ")
        begun = here.folder / "begun"
        screen.type(f"meet {begun} {here.folder}/never\n")
        while not begun.exists():
            time.sleep(0.01)
        screen.type("\x03")
        screen.read_until("(stopped; this turn is not remembered)")
        screen.read_until("> ")
        screen.type("/exit\n")
        assert screen.end() == 0


def test_ctrl_c_at_the_prompt_clears_the_line(here: Any) -> None:
    with here.on_terminal(*CHAT) as screen:
        screen.read_until("> ")
        screen.type("not this")
        screen.read_until("not this")
        screen.interrupt("> ")
        screen.type("recall\n")
        screen.read_until("user=recall")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.end() == 0
        assert "user=not this" not in screen.text


def test_an_error_ends_the_turn_and_not_the_chat(here: Any) -> None:
    with here.on_terminal(*CHAT) as screen:
        screen.read_until("> ")
        screen.type("fail auth\n")
        assert "error: auth: on cue" in screen.read_until("(this turn is not remembered)")
        screen.read_until("> ")
        screen.type("break\n")
        broken = screen.read_until("(this turn is not remembered)")
        assert "so far \nerror: transient: the stream broke off" in broken
        screen.read_until("> ")
        screen.type("recall\n")
        assert "fail" not in screen.read_until("> ").replace("recall", "", 1)
        screen.type("\x04")
        assert screen.end() == 0


def test_lines_come_back_with_the_arrow_keys_in_the_next_chat_too(here: Any) -> None:
    with here.on_terminal(*CHAT) as screen:
        screen.read_until("> ")
        screen.type("remember me\n")
        screen.read_until("remember me\nremember me")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.end() == 0
    history = here.folder / "home" / ".local" / "state" / "oumi" / "chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    with here.on_terminal(*CHAT) as screen:
        screen.read_until("> ")
        screen.type("\x1b[A\n")
        screen.read_until("remember me\nremember me")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.end() == 0


@pytest.mark.parametrize(
    ("variable", "place"),
    [("OUMI_STATE_DIR", "mine/chat_history"), ("XDG_STATE_HOME", "mine/oumi/chat_history")],
)
def test_the_folder_of_the_history_can_be_chosen(here: Any, variable: str, place: str) -> None:
    with here.on_terminal(*CHAT, **{variable: str(here.folder / "mine")}) as screen:
        screen.read_until("> ")
        screen.type("hello\n")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.end() == 0
    assert "hello" in (here.folder / place).read_text()


def test_a_history_that_cannot_be_kept_is_said_and_the_chat_goes_on(here: Any) -> None:
    here.write("file", "")
    with here.on_terminal(*CHAT, OUMI_STATE_DIR=f"{here.folder}/file/x") as screen:
        screen.read_until("the history is not kept")
        screen.read_until("> ")
        screen.type("hello\n")
        screen.read_until("hello\nhello")
        screen.read_until("> ")
        screen.type("\x04")
        assert screen.end() == 0


def test_an_answer_is_printed_in_pieces_and_cannot_move_the_cursor(here: Any) -> None:
    with here.on_terminal(*CHAT) as screen:
        screen.read_until("> ")
        screen.type("shout red\n")
        screen.read_until("[31mred")
        screen.read_until("> ")
        assert "\x1b[31mred" not in screen.raw
        screen.type("\x04")
        assert screen.end() == 0


# Over a pipe.


def test_lines_from_a_pipe_are_answered_plainly_until_they_end(here: Any) -> None:
    done = here.oumi(*PIPED, stdin="hello\n\nrecall\n")
    assert done.code == 0
    answers = [line.rstrip() for line in done.out.splitlines()]
    assert answers == ["hello", "user=hello assistant=hello user=recall"]
    assert ">" not in done.err


def test_a_turn_that_failed_shows_in_the_exit_code_of_a_pipe(here: Any) -> None:
    done = here.oumi(*PIPED, stdin="fail quota\nhello\n")
    assert (done.code, done.out.strip()) == (1, "hello")
    assert "error: quota: on cue\n" in done.err


def test_the_system_message_and_clear(here: Any) -> None:
    lines = "recall\n/clear\n/system Be loud.\nrecall\n/clear\n/system\nrecall\n"
    done = here.oumi(*PIPED, "--system-prompt", "Be brief.", stdin=lines)
    assert [line.rstrip() for line in done.out.splitlines()] == [
        "system=Be brief. user=recall",
        "system=Be loud. user=recall",
        "user=recall",
    ]


def test_a_conversation_is_saved_as_one_more_line(here: Any) -> None:
    done = here.oumi(*PIPED, stdin="one\n/save talk.jsonl\ntwo\n/save talk.jsonl\n")
    assert done.code == 0
    saved = (here.folder / "talk.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["messages"]) for line in saved] == [2, 4]


def test_a_command_that_cannot_be_done_is_explained(here: Any) -> None:
    faults = {
        "/hepl": "/hepl: there is no such command; did you mean /help?",
        "/qwert": "/qwert: there is no such command; /help shows what there is",
        "/save": "/save: where to? /save FILE",
        "/save x.jsonl": "/save: nothing was said yet",
        "/image": "/image: which one? /image PATH or /image URL",
        "/image no.png": "no.png: the image cannot be read: No such file or directory",
    }
    done = here.oumi(*PIPED, stdin="".join(f"{line}\n" for line in (*faults, "hello")))
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {fault}" for fault in faults.values()]
    assert (done.code, done.out.strip()) == (1, "hello")


def test_help_names_every_command(here: Any) -> None:
    done = here.oumi(*PIPED, stdin="/help\n")
    for command in ("/clear", "/system", "/image", "/save", "/exit"):
        assert command in done.err


def test_a_path_and_a_line_after_a_space_are_no_commands(here: Any) -> None:
    done = here.oumi(*PIPED, stdin="/etc/hosts holds what?\n /exit\n/exit\nnever\n")
    assert [line.strip() for line in done.out.splitlines()] == ["/etc/hosts holds what?", "/exit"]


def test_an_image_goes_with_the_next_line_only(here: Any) -> None:
    here.write("cat.png", PNG)
    done = here.oumi(*PIPED, "--engine", "echo", stdin="/image cat.png\nlook\nand now\n/save t\n")
    assert done.code == 0
    user = json.loads((here.folder / "t").read_text())["messages"][::2]
    assert [item["type"] for item in user[0]["content"]] == ["image_binary", "text"]
    assert user[1]["content"] == "and now"


def test_an_answer_that_breaks_its_constraint_is_shown_and_then_refused(here: Any) -> None:
    choice = "--generation.guided_decoding.choice=[left, right]"
    done = here.oumi(*PIPED, choice, stdin="up\nleft\n")
    assert [line.strip() for line in done.out.splitlines()] == ["up", "left"]
    assert "error: invalid_output: the answer " in done.err
    assert done.code == 1


# One question.


def test_one_question_is_answered_and_the_program_ends(here: Any) -> None:
    done = here.oumi(*CHAT, "--prompt", "recall", "--system-prompt", "Be brief.")
    assert (done.code, done.out.strip()) == (0, "system=Be brief. user=recall")


def test_one_question_as_json(here: Any) -> None:
    here.write("cat.png", PNG)
    asked = ("infer", "--engine", "echo", "--model.model_name", "any", "--json")
    images = ("--image", "cat.png", "--image", "https://example.org/dog.png")
    done = here.oumi(*asked, "--prompt", "look", *images)
    assert done.code == 0
    (row,) = done.rows
    kinds = [item["type"] for item in row["messages"][0]["content"]]
    assert kinds == ["image_binary", "image_url", "text"]
    assert row["messages"][1]["content"] == "look"


@pytest.mark.parametrize(("kind", "code"), [("refusal", 1), ("auth", 3)])
def test_one_question_that_fails(here: Any, kind: str, code: int) -> None:
    done = here.oumi(*CHAT, "--prompt", f"fail {kind}")
    assert (done.code, done.out) == (code, "")
    assert f"error: {kind}: on cue" in done.err


def test_what_an_answer_does_not_show_is_said(here: Any) -> None:
    done = here.oumi(*CHAT, "--prompt", "cut short")
    assert (done.code, done.out.strip()) == (0, "cut short")
    assert "(cut at generation.max_new_tokens)" in done.err


def test_ctrl_c_while_the_model_loads_ends_the_program(here: Any) -> None:
    model = here.folder / "not-there"
    with here.on_terminal(*CHAT, "--model.model_name", str(model)) as screen:
        screen.read_until("loading")
        screen.type("\x03")
        screen.read_until("interrupted")
        assert screen.end() == 130
