"""What the pages of a PDF unpack to is counted before it is read."""

from __future__ import annotations

import zlib

import pytest

from aepipe.errors import ItemError
from aepipe.sources.text import decode, documents
from aepipe.sources.text.pdf_streams import unpacked_size
from tests.support.documents import pdf

MB = 1 << 20
PAGE = bytes(3 * MB)


def stream(data: bytes, about: bytes = b"/Filter/FlateDecode") -> bytes:
    """Return an object of a PDF."""
    return b"4 0 obj<<%s/Length %d>>stream\n%s\nendstream endobj\n" % (about, len(data), data)


def test_the_size_of_what_is_packed() -> None:
    packed = zlib.compress(PAGE)
    assert unpacked_size(stream(packed), 100 * MB) == len(PAGE)
    assert unpacked_size(stream(packed) * 4, 100 * MB) == 4 * len(PAGE)
    assert MB < unpacked_size(stream(packed) * 4, MB) <= 3 * MB, "no more than needed is unpacked"
    assert unpacked_size(stream(packed, b"/Filter [/Fl]"), 100 * MB) == len(PAGE)
    twice = stream(zlib.compress(packed), b"/Filter[/FlateDecode/FlateDecode]")
    assert unpacked_size(twice, 100 * MB) == len(PAGE)


def test_pictures_and_what_is_not_packed_count_nothing() -> None:
    packed = zlib.compress(PAGE)
    assert unpacked_size(stream(packed, b"/Subtype/Image/Filter/FlateDecode"), MB) == 0
    assert unpacked_size(stream(PAGE, b""), MB) == 0
    assert unpacked_size(stream(b"encrypted"), MB) == 0
    assert unpacked_size(b"%PDF-1.4 stream\n", MB) == 0
    assert unpacked_size(stream(packed[:-99]), 100 * MB) <= len(PAGE), "cut off"


def test_a_page_that_unpacks_to_a_gigabyte_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = pdf(["The harbour pilot boards every freighter before dawn."])
    monkeypatch.setattr(documents, "MOST_UNPACKED", MB)
    assert "harbour" in decode.text_of(sound, "x")
    with pytest.raises(ItemError) as caught:
        decode.text_of(sound + stream(zlib.compress(PAGE)), "x")
    assert caught.value.reason == documents.BOMB
