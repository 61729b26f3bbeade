"""What long verbs show: lines in a pipe, bars on a terminal."""

from __future__ import annotations

import io
import logging
import re

from aepipe.cli.progress import showing
from aepipe.log import EVERY, Lines, chapter, step


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def listening(handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger("aepipe.progress")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return logger


def test_a_pipe_gets_start_and_end_and_little_between() -> None:
    stream, now = io.StringIO(), [0.0]
    handler = Lines(stream, clock=lambda: now[0])
    logger = listening(handler)
    try:
        for done in range(101):
            now[0] = done * 0.3
            step("ingest", done, 100)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    shown = [line.split("s  ")[1] for line in stream.getvalue().splitlines()]
    due = [0, 34, 68, 100]  # a third of a second each, ten seconds apart, and the end
    assert shown == [f"ingest: {done}/100" for done in due]
    assert EVERY == 10


def test_messages_and_progress_on_one_stream() -> None:
    stream = io.StringIO()
    with showing(stream):
        step("views", 5, 5, "done")
        logging.getLogger("aepipe.somewhere").warning("3 of 5 are [bold]odd")
        logging.getLogger("other").warning("not ours")
    assert re.findall(r"s  (.*)", stream.getvalue()) == ["views: 5/5  done", "3 of 5 are [bold]odd"]


def test_a_terminal_gets_one_bar_per_stage() -> None:
    stream = Terminal()
    with showing(stream):
        for done in range(4):
            step("layer 1", done, 3, f"loss {done}")
        logging.getLogger("aepipe.somewhere").warning("3 of 5 are [bold]odd")
        step("layer 2", 1, None)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    *_, one, two, _ = plain.replace("\r", "\n").split("\n")
    assert re.match(r"layer 1 ━+ 3/3 .*loss 3", one)
    assert re.match(r"layer 2 ━+ 1 ", two)
    assert "3 of 5 are [bold]odd" in plain


def test_nothing_stays_behind() -> None:
    logger = logging.getLogger("aepipe")
    before = list(logger.handlers), logger.level
    with showing(io.StringIO()):
        assert logger.level == logging.INFO
    assert (list(logger.handlers), logger.level) == before


def test_a_chapter_starts_its_stages_again() -> None:
    stream = io.StringIO()
    with showing(stream):
        for title in ("1/2 this", "2/2 that"):
            chapter(title)
            step("layer 1", 3, 3)
            step("layer 1", 3, 3)
    said = re.findall(r"s  (.*)", stream.getvalue())
    assert said == ["1/2 this", "layer 1: 3/3", "2/2 that", "layer 1: 3/3"]


def test_bars_of_a_chapter_give_way_to_those_of_the_next() -> None:
    stream = Terminal()
    with showing(stream):
        for title in ("1/2 this", "2/2 that"):
            chapter(title)
            step("layer 1", 3, 3)
            step("layer 2", 3, 3)
        step("layer 3", 1, None)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    *_, one, two, three, _ = plain.replace("\r", "\n").split("\n")
    assert [line[:7] for line in (one, two, three)] == ["layer 1", "layer 2", "layer 3"]
    assert "1/2 this" in plain
