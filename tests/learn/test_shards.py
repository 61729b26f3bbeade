"""A training shared out over processes: the same bytes whoever computes what, and the same objective however it is cut.

The first is tested with draws as they are, for two processes against one; the second with draws that are the same in
every row, for batches that are cut against whole ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from aepipe.errors import RecipeError, TrainingError
from aepipe.learn import batches, shards
from aepipe.learn.shards import Shards
from aepipe.learn.trainer import FileCheckpoint
from aepipe.learn.turns import Turns
from aepipe.learn.world import ALONE, World
from aepipe.recipe import ComputeRecipe
from tests.support import shared_trainings as trainings

CASES = trainings.cases()


@pytest.fixture(scope="session")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes made of all trainings, each of which they shared out."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "tests.support.shared_trainings", str(folder)]
    processes = [subprocess.Popen([*command, str(rank), "2"], stderr=subprocess.PIPE) for rank in range(2)]
    said = [one.communicate(timeout=300)[1].decode() for one in processes]
    assert [one.returncode for one in processes] == [0, 0], said
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


@pytest.fixture
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all draws of a kind be one number, so that rows have the same ones in whichever slice they are."""

    def sized(*size: Any) -> Any:
        return size[0] if len(size) == 1 and not isinstance(size[0], int) else size

    def constant(value: float) -> Callable[..., Any]:
        return lambda *size, generator=None, **about: torch.full(sized(*size), value, **about)

    monkeypatch.setattr(torch, "rand", constant(0.35))
    monkeypatch.setattr(torch, "randn", constant(0.2))
    monkeypatch.setattr(torch, "bernoulli", lambda chance, generator=None: chance.round())
    monkeypatch.setattr(torch, "randperm", lambda count, generator=None, **about: torch.arange(count, **about))
    monkeypatch.setattr(
        torch, "randint", lambda low, high, size, generator=None, **about: torch.full(size, (low + high) // 2, **about)
    )


@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_the_bytes_of_one(case: str, of_two: dict[str, Any], tmp_path: Path) -> None:
    assert of_two[case] == json.loads(json.dumps(trainings.outcome(case, tmp_path)))


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("case", CASES)
def test_a_batch_that_is_cut_has_the_terms_of_a_whole_one(case: str, tmp_path: Path) -> None:
    whole, cut = (trainings.outcome(case, tmp_path, shards=count)["curve"] for count in (1, 3))
    for expected, entry in zip(whole, cut, strict=True):
        # Standardised units have no use for their biases, which go where rounding errors lead; running averages
        # follow them, and rows that are held out are standardised by these.
        terms = expected.keys() - {"held_out"}
        assert entry.keys() == expected.keys()
        assert {name: entry[name] for name in terms} == pytest.approx(
            {name: expected[name] for name in terms}, rel=1e-4, abs=1e-6
        )


def test_a_slice_is_its_part_of_the_rows_whatever_their_number() -> None:
    one = Shards(ALONE, 3)
    assert [one.seeds(place) for place in range(3)] == [(0,), (1,), (2,)]
    assert (Shards(ALONE, 1).seeds(0), Shards(Part(1, 2, []), 5).seeds(1)) == ((), (3,))
    parts = one.cut(torch.arange(10, 18))
    assert [part.tolist() for part in parts] == [[10, 11, 12], [13, 14, 15], [16, 17]]
    found = one.each(lambda place: [*shards.together(parts[place], parts[place].repeat(2))])
    assert all(torch.equal(whole, torch.arange(10, 18)) for whole, _ in found)
    assert found[0][1].tolist() == [10, 11, 12, 10, 11, 12, 13, 14, 15, 13, 14, 15, 16, 17, 16, 17]
    assert one.each(lambda place: shards.own_rows(torch.arange(8), len(parts[place])).tolist())[2] == [6, 7]
    means = one.each(lambda place: float(shards.average(parts[place].double().mean())))
    assert means == pytest.approx([13.5] * 3)


def test_a_batch_that_is_not_cut_is_left_alone() -> None:
    rows = torch.rand(4, 2)
    assert shards.together(rows)[0] is rows
    assert shards.own_rows(rows, 4) is rows
    assert shards.average(rows) is rows
    assert (shards.leads(), shards.is_cut(), shards.rows_of_all(4)) == (True, False, 4)
    assert torch.equal(shards.of_slices(rows)[0], rows[None])


class Part(World):
    """One of several processes that are played in turn: it gets what all of them said."""

    def __init__(self, rank: int, size: int, told: list[list[Any]]) -> None:
        self.rank, self.size, self._told = rank, size, told

    def gather(self, tensor: Any) -> list[Any]:
        return self._exchanged(tensor)

    def swap(self, parts: list[Any]) -> list[Any]:
        return [one[self.rank] for one in self._exchanged(parts)]

    def _exchanged(self, given: Any) -> list[Any]:
        self._told[self.rank].append(given)
        number = len(self._told[self.rank]) - 1
        if any(len(one) <= number for one in self._told):
            raise UnheardError
        return [one[number] for one in self._told]


class UnheardError(Exception):
    """Another process has not spoken yet."""


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("width", [5, shards.LARGE + 3])
def test_a_sum_has_the_same_bytes_for_every_number_of_processes(size: int, width: int) -> None:
    vectors = [torch.randn(width, generator=torch.Generator().manual_seed(number)) for number in range(7)]
    expected = Shards(ALONE, 7).sum(vectors)
    assert torch.allclose(expected, torch.stack(vectors).sum(0), atol=1e-5)
    told: list[list[Any]] = [[] for _ in range(size)]
    found: dict[int, Any] = {}
    while len(found) < size:
        for rank in range(size):
            said, told[rank] = len(told[rank]), []
            one = Shards(Part(rank, size, told), 7)
            try:
                found[rank] = one.sum([vectors[number] for number in one.own])
            except UnheardError:
                assert len(told[rank]) >= said
    assert all(torch.equal(found[rank], expected) for rank in range(size))


def test_more_processes_than_slices_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"compute\.shards: 1, and 2 processes .* --set compute\.shards=2"):
        Shards(Part(0, 2, []), 1)


def test_batches_with_fewer_rows_than_slices_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"batches of 4 rows cannot be cut into 5 slices; .* at most 4"):
        trainings.trainer("reconstruction", 5, fit={"batch": 4})


def test_a_last_batch_that_is_smaller_than_its_slices_waits_for_the_next_epoch(tmp_path: Path) -> None:
    one = trainings.trainer("reconstruction", 4, fit={"batch": 57})
    assert (len(one.train) % 57, one.steps) == (2, 4)
    curve = one.run(FileCheckpoint(tmp_path), lambda done, total, note: None)
    assert curve[0]["reconstruction"] < 12


def test_the_number_of_slices_is_in_the_digest_and_one_is_as_before() -> None:
    keys = [batches.resolve(ComputeRecipe(device="cpu", precision="float32", shards=count)).key() for count in (1, 2)]
    assert keys == [{"device": "cpu", "precision": "float32"}, {"device": "cpu", "precision": "float32", "shards": "2"}]
    assert "shards" not in ComputeRecipe().model_dump()


def test_functions_take_turns_and_meet() -> None:
    turns, said = Turns(3), []

    def work(place: int) -> int:
        said.append(place)
        met = turns.meet(place, place, sum)
        said.append(place)
        return met + turns.meet(place, 10, sum)

    for _ in range(2):
        assert turns.run(work) == [33, 33, 33]
    assert said == [0, 1, 2, 0, 1, 2] * 2


def test_a_function_that_fails_frees_the_others() -> None:
    turns = Turns(3)

    def work(place: int) -> int:
        turns.meet(place, place, sum)
        if place == 1:
            raise RecipeError("no")
        return turns.meet(place, place, sum)

    for _ in range(2):
        with pytest.raises(RecipeError, match="no"):
            turns.run(work)
    assert turns.run(lambda place: place) == [0, 1, 2]
