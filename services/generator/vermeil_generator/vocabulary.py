"""Token ids as text, one by one and as a stream; ids beyond the tokenizer (padding of the model's
matrix) have no text."""

from vermeil_data import Detokenizer, TextTokenizer


class Vocabulary:
    """The tokenizer as the engine needs it."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def text(self, token_id: int) -> str:
        """The text of one token; special tokens by name, U+FFFD where it is part of a character."""
        known = self._texts.get(token_id)
        if known is None:
            inside = token_id < self._tokenizer.vocab_size
            known = self._tokenizer.decode([token_id], skip_special=False) if inside else ""
            self._texts[token_id] = known
        return known

    def stream(self) -> "Stream":
        """A new stream of ids to text."""
        return Stream(self._tokenizer.detokenizer(), self._tokenizer.vocab_size)


class Stream:
    """Ids to text, never half a character."""

    def __init__(self, detokenizer: Detokenizer, vocab_size: int) -> None:
        self._detokenizer = detokenizer
        self._vocab_size = vocab_size

    def add(self, token_id: int) -> str:
        """The text that this id completes."""
        return self._detokenizer.add(token_id) if token_id < self._vocab_size else ""

    def finish(self) -> str:
        """What is left at the end."""
        return self._detokenizer.finish()
