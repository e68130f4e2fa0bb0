"""Advisories: what fails, what is lived with and until when, and what is no answer."""

from datetime import date
from pathlib import Path

import pytest
from vermeil_build import advisories
from vermeil_build.advisories import (
    EXCEPTIONS,
    FOUND,
    NOT_DONE,
    Exemption,
    Told,
    Weakness,
    judge,
    main,
    read_answer,
    read_exemptions,
)
from vermeil_build.tree import ROOT

TODAY = date(2026, 11, 29)
WEAK = Told((Weakness("jinja2", "2.10", "PYSEC-1", "2.10.1"),), (), 3)


def exempt(until: date = TODAY, id_: str = "PYSEC-1") -> Exemption:
    return Exemption(id_, "jinja2", "no template comes from outside", until)


def test_a_weakness_fails_until_it_is_lived_with() -> None:
    assert judge(WEAK, [], TODAY) == ["jinja2 2.10: PYSEC-1, mended in 2.10.1"]
    assert judge(WEAK, [exempt()], TODAY) == []


def test_an_exception_ends_on_its_day_even_where_nothing_could_be_asked() -> None:
    (problem,) = judge(Told((), (), 0), [exempt(date(2026, 11, 28))], TODAY)
    assert "ended on 2026-11-28" in problem


def test_an_exception_that_stands_for_nothing_has_to_go() -> None:
    (problem,) = judge(Told((), (), 3), [exempt()], TODAY)
    assert "take it out" in problem
    assert judge(Told((), (), 0), [exempt()], TODAY) == []


def test_pip_audit_s_answer_is_read_with_what_it_does_not_know() -> None:
    vulnerability = {"id": "PYSEC-1", "fix_versions": ["2.10.1"], "aliases": [], "description": ""}
    told = read_answer(
        [
            {"name": "jinja2", "version": "2.10", "vulns": [vulnerability]},
            {"name": "mine", "skip_reason": "Dependency not found on PyPI"},
        ]
    )
    assert told == Told(WEAK.weaknesses, ("mine",), 2)


def test_no_answer_is_no_success_and_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(advisories, "ask", lambda _file: Told((), ("jinja2",), 1))
    assert main() == NOT_DONE
    assert "NOT DONE" in capsys.readouterr().out


def test_a_weak_pin_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(advisories, "ask", lambda _file: WEAK)
    assert main() == FOUND
    assert "PYSEC-1" in capsys.readouterr().out


def test_the_exceptions_of_this_repository_have_all_fields(tmp_path: Path) -> None:
    read_exemptions(ROOT / EXCEPTIONS)
    half = tmp_path / "half.toml"
    half.write_text('[[exception]]\nid = "PYSEC-1"\npackage = "jinja2"\nreason = "none"\n')
    with pytest.raises(KeyError, match="until"):
        read_exemptions(half)
