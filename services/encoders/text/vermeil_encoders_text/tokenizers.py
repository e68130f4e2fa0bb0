"""Tokenizers of models: read out of the store without the weights, and kept for the next call."""

from functools import lru_cache

from vermeil_artifacts import ArtifactStore
from vermeil_data import TextTokenizer
from vermeil_data.tokenizer import CONFIG_FILE, TOKENIZER_FILE
from vermeil_errors import NotFound


def read_tokenizer(store: ArtifactStore, digest: str) -> TextTokenizer:
    """The tokenizer in a model's or an encoded dataset's files."""
    files = {entry.path for entry in store.manifest(digest).files}
    if TOKENIZER_FILE not in files:
        raise NotFound(f"the artifact has no {TOKENIZER_FILE}", field=digest)
    with store.open(digest, TOKENIZER_FILE) as file:
        tokenizer = file.read()
    config = b"{}"
    if CONFIG_FILE in files:
        with store.open(digest, CONFIG_FILE) as file:
            config = file.read()
    return TextTokenizer.parse(tokenizer, config, f"{digest}/{TOKENIZER_FILE}")


class KnownTokenizers:
    """The last used tokenizers by digest."""

    def __init__(self, store: ArtifactStore, size: int) -> None:
        self.get = lru_cache(maxsize=size)(lambda digest: read_tokenizer(store, digest))
        """The tokenizer of an artifact."""
