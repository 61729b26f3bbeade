"""The verbs about what is in service: history, promote, rollback, verify."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from aepipe.release.release import Release
from aepipe.store import registry
from aepipe.store.artifacts import Ref, Store
from tests.cli.conftest import Aepipe
from tests.support.releases import make_release

Own = tuple[Store, Ref]


def _another(store: Store, *, promote: bool = True) -> Ref:
    return make_release(store, n=20, seed=1, promote=promote)


def _part(store: Store, ref: Ref, what: str) -> Path:
    return store.path(dict(Release.open(store, ref=ref).parts)[what])


def test_history_is_a_table_or_json(aepipe: Aepipe, own_store: Own) -> None:
    store, first = own_store
    second = _another(store)
    head, *lines = aepipe("history", home=store).stdout.splitlines()
    assert head.split() == ["when", "name", "action", "from", "to", "map_at_1000", "recall_at_10", "why"]
    assert [line.split()[3:5] for line in lines] == [["-", first.short], [first.short, second.short]]
    events = json.loads(aepipe("history", "--json", home=store).stdout)
    assert [event["after"] for event in events] == [first.digest, second.digest]
    scores = Release.open(store).scores["rows"][0]["metrics"]
    assert events[1]["scores"]["map_at_1000"] == scores["map_at_1000"]["value"]
    registry.refuse(store, "pictures", first, why="it is worse")
    assert "refuse" in aepipe("history", home=store).stdout
    assert "nothing was ever in service" in aepipe("history", "--name", "shoes", home=store).stdout


def test_promote_and_rollback(aepipe: Aepipe, own_store: Own) -> None:
    store, first = own_store
    second = _another(store, promote=False)
    done = aepipe("promote", second.digest[:6], "--why", "it is better", home=store)
    assert done.exit_code == 0
    assert done.stdout == f"pictures: {second.short} is in service, in place of {first.short}\n"
    assert registry.current(store, "pictures") == second
    assert registry.history(store)[-1].why == "it is better"
    before = registry.history(store)
    seen = aepipe("rollback", "-n", home=store)
    assert seen.stdout == f"pictures: {first.short} would be in service, in place of {second.short}\n"
    assert (registry.current(store, "pictures"), registry.history(store)) == (second, before)
    back = aepipe("rollback", "--why", "it is not", home=store)
    assert back.stdout == f"pictures: {first.short} is in service, in place of {second.short}\n"
    assert registry.current(store, "pictures") == first
    assert [event.action for event in registry.history(store)] == ["promote", "promote", "rollback"]
    assert aepipe("rollback", home=store).exit_code == 2, "there is none before the first"


def test_promotion_of_what_is_in_service_changes_nothing(aepipe: Aepipe, own_store: Own) -> None:
    store, first = own_store
    before = registry.history(store)
    done = aepipe("promote", first.digest[:6], home=store)
    assert done.stdout == f"pictures: {first.short} is in service already\n"
    assert registry.history(store) == before


def test_a_rollback_to_what_was_collected_says_so(aepipe: Aepipe, own_store: Own) -> None:
    store, first = own_store
    second = _another(store)
    store.remove(first)
    assert aepipe("rollback", "-n", home=store).stderr == (found := aepipe("rollback", home=store)).stderr
    assert found.exit_code == 2
    assert "pictures: the release before cannot be put back: " in found.stderr
    assert "`aepipe history` lists the others" in found.stderr
    assert "aepipe rollback" not in found.stderr
    assert registry.current(store, "pictures") == second


@pytest.mark.parametrize("verb", ["show", "verify", "evaluate", "export"])
def test_a_release_of_another_collection_is_not_taken_for_the_named_one(
    aepipe: Aepipe, own_store: Own, tmp_path: Path, verb: str
) -> None:
    store, first = own_store
    make_release(store, name="shoes", n=12)
    asked = [tmp_path / "out", "--release", first.short] if verb == "export" else [first.short]
    found = aepipe(verb, *asked, "--name", "shoes", home=store)
    assert found.exit_code == 2
    assert f"release {first.short} is one of pictures, not of shoes" in found.stderr
    assert aepipe("verify", first.short, "--name", "pictures", home=store).exit_code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ffffffffff", "no release starts with 'ffffffffff'; in the store"),
        ("pictures", "; pictures is a collection, and its release in service is "),
        ("", "several releases start with ''"),
    ],
)
def test_promote_needs_one_release(aepipe: Aepipe, own_store: Own, text: str, said: str) -> None:
    store, first = own_store
    _another(store, promote=False)
    found = aepipe("promote", text, home=store)
    assert found.exit_code == 2
    assert said in found.stderr
    assert registry.current(store, "pictures") == first


def test_a_release_of_another_collection_is_not_promoted(aepipe: Aepipe, own_store: Own) -> None:
    store, first = own_store
    found = aepipe("promote", first.digest, "--name", "others", home=store)
    assert found.exit_code == 2
    assert f"release {first.short} is one of pictures, not of others" in found.stderr
    assert len(registry.history(store)) == 1


def test_a_name_without_history_is_said(aepipe: Aepipe, own_store: Own) -> None:
    assert "under the name 'nope'" in aepipe("history", "--name", "nope", home=own_store[0]).stdout


def test_promote_takes_the_long_form(aepipe: Aepipe, own_store: Own) -> None:
    store, first = own_store
    assert aepipe("promote", str(first), home=store).exit_code == 0


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_a_damaged_release_does_not_go_into_service(aepipe: Aepipe, own_store: Own, verb: str) -> None:
    store, first = own_store
    second = _another(store)
    file = _part(store, first, "encoder") / "encoder.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    found = aepipe(verb, *([first.digest[:8]] if verb == "promote" else []), home=store)
    assert found.exit_code == 3
    (line,) = found.stderr.splitlines()
    assert str(file) in line
    assert registry.current(store, "pictures") == second


def test_promote_waits_for_no_run(aepipe: Aepipe, own_store: Own) -> None:
    store, first = own_store
    second = _another(store, promote=False)
    with registry.lock(store, "pictures"):
        found = aepipe("promote", second.digest[:8], home=store)
        waited = aepipe("promote", second.digest[:8], "--wait", "0.3s", home=store)
        assert aepipe("promote", first.digest[:8], home=store).exit_code == 0, "it is in service already"
        assert aepipe("promote", second.digest[:8], "--wait", "soon", home=store).exit_code == 2
    assert found.exit_code == waited.exit_code == 75
    assert f"process {os.getpid()}" in found.stderr


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["query", "--id", "3"], "describe"),
        (["export", "out"], "codes_of"),
        (["diff", "--top", "0"], "codes_of"),
        (["dedup"], "codes_of"),
    ],
)
def test_a_long_question_holds_up_no_promotion(
    aepipe: Aepipe, own_store: Own, words: list[str], last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first = own_store
    second = _another(store)
    asking, may_answer, quick = Event(), Event(), getattr(Release, last)

    def slow(*given: Any, **options: Any) -> Any:
        asking.set()
        assert may_answer.wait(60)
        return quick(*given, **options)

    with ThreadPoolExecutor() as threads:
        with monkeypatch.context() as patched:
            patched.setattr(Release, last, slow)
            asked = threads.submit(aepipe, *words, home=store)
            assert asking.wait(60)
        promoted = aepipe("promote", first.digest[:8], home=store)
        collected = aepipe("gc", "--keep", "2", home=store)
        may_answer.set()
    assert (promoted.exit_code, collected.exit_code, registry.current(store, "pictures")) == (0, 0, first)
    assert asked.result().exit_code == 0
    assert second != first


def test_verify_reads_everything(aepipe: Aepipe, own_store: Own) -> None:
    store, ref = own_store
    found = aepipe("verify", home=store)
    assert found.exit_code == 0
    assert found.stdout.startswith("7 of 7 folders are sound")
    assert aepipe("verify", ref.digest[:8], home=store).stdout == found.stdout
    _another(store)
    assert aepipe("verify", "--all", home=store).stdout.startswith("14 of 14 folders are sound")


def test_verify_names_every_damaged_file(aepipe: Aepipe, own_store: Own) -> None:
    store, ref = own_store
    flipped = _part(store, ref, "codes") / "codes.npy"
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(data)
    torn = _part(store, ref, "scores") / "scores.json"
    torn.rename(torn.with_suffix(".away"))
    torn.write_text(torn.with_suffix(".away").read_text()[::-1])
    for arguments in ([], ["--all"]):
        found = aepipe("verify", *arguments, home=store)
        assert found.exit_code == 3
        assert found.stdout.startswith("5 of 7 folders are sound")
        lines = found.stderr.splitlines()
        assert len(lines) == 2
        assert sorted(str(file) in line for file in (flipped, torn) for line in lines) == [False, False, True, True]


@pytest.mark.parametrize("arguments", [["query", "--id", 0], ["show"], ["evaluate"], ["verify"]])
def test_a_corrupt_release_is_one_line_with_the_file(aepipe: Aepipe, own_store: Own, arguments: list[object]) -> None:
    store, ref = own_store
    file = store.path(ref) / "release.json"
    file.write_text("{}")
    found = aepipe(*arguments, home=store)
    assert found.exit_code == 3
    (line,) = found.stderr.splitlines()
    assert str(file) in line
