"""Addresses of object storage, calls that end, and messages without secrets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aepipe.errors import StoreError, TargetError
from aepipe.store.addresses import SilentError, answered, cache_folder, of_objects, without_secrets


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3:/bucket/a", "s3://bucket/a"),
        ("AZ://bucket/a//", "az://bucket/a"),
        ("abfs://bucket@account/a", "abfs://bucket@account/a"),
        ("a/s3:/bucket", None),
        ("s3:file", None),
    ],
)
def test_an_address_is_written_in_one_way(given: str, address: str | None) -> None:
    assert of_objects(given) == address


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (
            "s3:",
            TargetError,
            "s3:...: no address of a store; write a folder, or s3://BUCKET/FOLDER, gs://BUCKET/FOLDER",
        ),
        ("http://host/x", TargetError, "http://...: no address of a store"),
        ("gs://user:secret@bucket/x", StoreError, "gs://...: an address with a user in it; set the variables that the"),
        ("s3://b/x?y=1", StoreError, "s3://b/x?y=1: no address of a store; write it as s3://BUCKET/FOLDER"),
        ("s3://b/./x", StoreError, "s3://b/./x: no address"),
        ("s3://b/x\n", StoreError, "no address of a store"),
        ("s3://b/x#y", StoreError, "no address of a store"),
        ("abfs://b@c/a\\b", StoreError, "no address of a store"),
    ],
)
def test_what_is_no_address_is_said(given: str, kind: type[StoreError], said: str) -> None:
    with pytest.raises(StoreError) as caught:
        of_objects(given)
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_copies_lie_in_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AEPIPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == tmp_path / ".cache" / "aepipe"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "aepipe"
    monkeypatch.setenv("AEPIPE_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"


def test_a_call_gives_its_answer_or_its_error() -> None:
    assert answered(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        answered(lambda: 1 // 0)


class Silence:
    """A clock and a call: whoever waits lets time pass, and something comes at some times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, comes: set[int]) -> None:
        self.now, self.comes, self.waited = 0.0, comes, list[float]()
        monkeypatch.setattr("aepipe.store.addresses.time", self)
        monkeypatch.setattr("concurrent.futures.wait", self.wait)
        monkeypatch.setattr("threading.Thread.start", lambda _: None)

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def wait(self, _: object, timeout: float) -> object:
        """Let time pass."""
        self.now += timeout
        self.waited.append(timeout)
        return type("Waited", (), {"done": set()})

    def size(self) -> int:
        """Return how much has come."""
        return sum(when <= self.now for when in self.comes)


@pytest.mark.parametrize(
    ("patience", "comes", "ended", "step"),
    [
        (3.0, set(), 3.0, 1.0),
        (3.0, {2}, 5.0, 1.0),
        (3.0, {0}, 3.0, 1.0),
        (0.5, set(), 0.5, 0.5),
        (3.0, {2, 4}, 7.0, 1.0),
    ],
)
def test_who_stays_silent_for_too_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch, patience: float, comes: set[int], ended: float, step: float
) -> None:
    """Whatever comes lets the time begin anew."""
    silence = Silence(monkeypatch, comes)
    with pytest.raises(SilentError, match=rf"^no answer for {patience:g} s; is the server reachable from here\?$"):
        answered(lambda: None, silence.size, patience)
    assert silence.now == ended
    assert set(silence.waited) == {step}


def test_secrets_of_the_environment_are_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if len(os.environ[name]) >= 8:
            monkeypatch.delenv(name)
    monkeypatch.setenv("my_token", "12345678")
    monkeypatch.setenv("MY_PASSWORD", "12345678-and-more")
    monkeypatch.setenv("API_KEY", "1234567")
    monkeypatch.setenv("HARMLESS", "abcdefgh")
    said = "  12345678-and-more 12345678 1234567 abcdefgh\nsecond line"
    assert without_secrets(said) == "*** *** 1234567 abcdefgh"
    assert without_secrets("ftp://me:pw@host/x?a=1") == "ftp://host/x?a=1"
    assert without_secrets("at 'http://host/x?Signature=1' now") == "at 'http://host/x' now"
