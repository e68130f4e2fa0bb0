"""The size ceilings catch what is too long, and only what people wrote."""

from pathlib import Path

from vermeil_build.sizes import MAX_FILE_LINES, MAX_FUNCTION_LINES, violations


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_file_of_500_lines_is_refused_by_name(tmp_path: Path) -> None:
    _write(tmp_path, "libs/data/vermeil_data/long.py", "x = 1\n" * 500)
    assert [sentence.split(":")[0] for sentence in violations(tmp_path)] == ["libs/data/vermeil_data/long.py"]


def test_a_long_function_is_refused_by_name_even_in_a_test(tmp_path: Path) -> None:
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    _write(tmp_path, "services/trainer/tests/test_train.py", f"def test_it():\n{body}")
    (sentence,) = violations(tmp_path)
    assert "services/trainer/tests/test_train.py:1: test_it has 61 lines" in sentence


def test_what_is_just_short_enough_passes(tmp_path: Path) -> None:
    body = "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    function = f"def f():\n{body}"
    _write(
        tmp_path,
        "libs/data/vermeil_data/fits.py",
        function + "x = 1\n" * (MAX_FILE_LINES - MAX_FUNCTION_LINES),
    )
    assert not list(violations(tmp_path))


def test_generated_code_and_migrations_may_be_long(tmp_path: Path) -> None:
    _write(tmp_path, "libs/contracts/vermeil/job/v1/job_pb2.py", "x = 1\n" * 500)
    _write(tmp_path, "services/registry/vermeil_registry/migrations/versions/0001.py", "x = 1\n" * 500)
    assert not list(violations(tmp_path))
