"""Pictures in a terminal: the protocol of each, and the picture that its bytes hold."""

from __future__ import annotations

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from aepipe.cli.output import CHUNK, inline, pixels_way

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"KONSOLE_VERSION": "240200"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, None),
        ({"KITTY_WINDOW_ID": "1", "TMUX": "/tmp/x"}, None),
        ({"TERM_PROGRAM": "iTerm.app", "TERM": "screen-256color"}, None),
        ({}, None),
    ],
)
def test_pixels_where_the_terminal_is_known_to_show_them(environment: dict[str, str], way: str | None) -> None:
    assert pixels_way(environment) == way


def _same(data: str) -> bool:
    return np.array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(data)))), np.asarray(PICTURE))


def test_kitty() -> None:
    text = inline(PICTURE, columns=9, lines=4, way="kitty")
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in chunks) == text
    assert chunks[0][0] == "a=T,f=100,q=2,c=9,r=4,m=1"
    assert [keys for keys, _ in chunks[1:]] == ["m=1"] * (len(chunks) - 2) + ["m=0"]
    assert all(len(data) <= CHUNK for _, data in chunks)
    assert _same("".join(data for _, data in chunks))


def test_iterm2() -> None:
    text = inline(PICTURE, columns=9, lines=4, way="iterm2")
    found = re.fullmatch(r"\x1b\]1337;File=inline=1;width=9;height=4;preserveAspectRatio=1:(.*)\x07", text)
    assert found
    assert _same(found[1])


def test_half_blocks_show_two_pixels_to_a_character() -> None:
    four = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], np.uint8))
    assert inline(four, columns=2, lines=1, way="blocks") == (
        "\x1b[38;2;1;2;3;48;2;7;8;9m▀\x1b[38;2;4;5;6;48;2;10;11;12m▀\x1b[0m"
    )
