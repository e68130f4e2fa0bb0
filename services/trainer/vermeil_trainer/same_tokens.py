"""Data that a model goes on with are told in the model's own tokens."""

from pathlib import Path

from vermeil_data import TextTokenizer
from vermeil_data.tokenizer import TOKENIZER_FILE
from vermeil_errors import InvalidInput


def check_tokenizer(tokenizer: TextTokenizer, folder: Path, model: str, data: str) -> None:
    """Refuse data whose tokens have other numbers than those of the model in a folder.

    `model` and `data` are the fields that name them; what a model was given no tokenizer for is not known.
    """
    if not (folder / TOKENIZER_FILE).is_file():
        return
    difference = TextTokenizer.load(folder).difference(tokenizer)
    if difference is not None:
        raise InvalidInput(
            f"has tokens of another tokenizer than {model}: {difference}",
            field=data,
            fix="encode it with that model's tokenizer",
        )
