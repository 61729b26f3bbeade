"""Several labels of an item are one text in the store, and a single one is as it always was."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aepipe.store.labels import SEPARATOR, any_several, joined, label_sets, parted, shown


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["cat"], ["cat"]),
        (["dog", "cat", "dog"], ["cat", "dog"]),
        ([" dog ", "", "cat, big"], ["cat, big", "dog"]),
        ([f"a{SEPARATOR}b"], ["a b"]),
        ([], []),
        (["", " "], []),
    ],
)
def test_labels_come_back_each_once_and_in_order(given: Sequence[str], kept: list[str]) -> None:
    text = joined(given)
    assert (text is None) == (not kept)
    assert list(parted(text)) == kept
    assert shown(text) == (", ".join(kept) if kept else None)


def test_one_label_is_its_own_text() -> None:
    assert joined(["Ankle boot"]) == shown("Ankle boot") == "Ankle boot"
    assert not any_several(["a, b", None, "a|b"])
    assert any_several([None, joined("ab")])
    assert label_sets([None, "a", joined("ab")]).tolist() == [frozenset(), frozenset("a"), frozenset("ab")]
