"""The time zone of this machine, also in a container that has the rules of a zone and not its name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from aepipe.cli import timezones
from aepipe.cli.timezones import local_timezone
from aepipe.errors import AepipeError


def rules_of(name: str) -> bytes:
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a time zone: its files are in the test's folder."""
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(timezones, "LINK", str(tmp_path / "localtime"))
    monkeypatch.setattr(timezones, "NAMED", str(tmp_path / "timezone"))
    return tmp_path


def linked(machine: Path, name: str, holding: str | None = None) -> None:
    file = machine / "zoneinfo" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(rules_of(holding or name))
    (machine / "localtime").symlink_to(file)


@pytest.mark.parametrize("asked", ["Europe/Paris", ":Europe/Paris", "/usr/share/zoneinfo/Europe/Paris"])
def test_the_environment_decides(machine: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    linked(machine, "Asia/Tokyo")
    monkeypatch.setenv("TZ", asked)
    assert local_timezone() == "Europe/Paris"


def test_a_rule_in_the_environment_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    with pytest.raises(AepipeError, match=r"\$TZ is CET-1CEST.*--timezone"):
        local_timezone()


def test_a_link_has_the_name(machine: Path) -> None:
    linked(machine, "Asia/Tokyo")
    assert local_timezone() == "Asia/Tokyo"


@pytest.mark.parametrize("name", ["Asia/Shanghai", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"])
def test_a_file_in_place_of_the_link_is_compared_with_the_zones_there_are(machine: Path, name: str) -> None:
    (machine / "localtime").write_bytes(rules_of(name))
    assert rules_of(local_timezone()) == rules_of(name)


def test_the_named_zone_is_taken_where_it_has_the_rules(machine: Path) -> None:
    (machine / "localtime").write_bytes(rules_of("Europe/Berlin"))
    (machine / "timezone").write_text("Europe/Vienna\n")  # the same hours, another file
    assert local_timezone() == "Europe/Vienna"
    (machine / "timezone").write_text("Etc/UTC\n")  # of the image, where the rules are the host's
    assert local_timezone() == "Europe/Berlin"


def test_without_rules_the_named_zone_is_taken(machine: Path) -> None:
    (machine / "timezone").write_text("America/Lima\n")
    assert local_timezone() == "America/Lima"


def test_rules_that_were_mounted_over_the_target_of_the_link_count(machine: Path) -> None:
    linked(machine, "Etc/UTC", holding="Asia/Shanghai")
    assert rules_of(local_timezone()) == rules_of("Asia/Shanghai")


@pytest.mark.parametrize("rules", [b"", b"no rules"])
def test_where_nothing_is_found_a_line_says_so(machine: Path, capsys: pytest.CaptureFixture[str], rules: bytes) -> None:
    (machine / "localtime").write_bytes(rules)
    assert local_timezone() == "UTC"
    assert (
        "the time zone of this machine is not known, UTC is taken; give one with --timezone" in capsys.readouterr().err
    )


def test_utc_that_is_found_is_not_said(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "localtime").write_bytes(rules_of("Etc/UTC"))
    assert local_timezone() == "Etc/UTC"
    assert not capsys.readouterr().err
