"""The corpus without downloads."""

from pathlib import Path

from vermeil_local.corpus import documentation, write_corpus


def test_the_installation_at_hand_gives_enough_english_to_learn_from(tmp_path: Path) -> None:
    num_files = write_corpus(tmp_path, max_bytes=1_000_000)
    text = "\n".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert num_files == len(list(tmp_path.iterdir())) > 50
    assert 900_000 < len(text.encode()) <= 1_100_000
    assert text.count(" the ") > 5_000


def test_documentation_stands_under_the_name_it_describes(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""About the module."""\n\ndef add(a, b):\n    """Sum of two."""\n')
    assert documentation(module) == "About the module.\n\nadd\n\nSum of two.\n"


def test_a_file_that_does_not_parse_is_silent(tmp_path: Path) -> None:
    module = tmp_path / "broken.py"
    module.write_text("def (")
    assert documentation(module) == ""
