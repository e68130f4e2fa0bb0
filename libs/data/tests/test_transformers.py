"""transformers reads our tokenizers, and agrees with us."""

from pathlib import Path

import pytest
from vermeil_data import TokenizerSpec, train_tokenizer
from vermeil_data.testing import documents

transformers = pytest.importorskip("transformers")
CHAT = [{"role": "user", "content": "the dog"}, {"role": "assistant", "content": "a quick fox"}]


@pytest.mark.parametrize("kind", ["bpe", "byte", "character"])
@pytest.mark.parametrize("reader", ["AutoTokenizer", "PreTrainedTokenizerFast"])
def test_transformers_reads_what_we_write(kind: str, reader: str, tmp_path: Path) -> None:
    ours = train_tokenizer(documents(50), TokenizerSpec(kind))  # type: ignore[arg-type]
    ours.save(tmp_path)
    theirs = getattr(transformers, reader).from_pretrained(tmp_path)
    text = documents(3)[2]
    assert theirs(text)["input_ids"] == ours.encode(text, add_bos=True)
    assert theirs.decode(ours.encode(text)) == text
    assert len(theirs) == ours.vocab_size
    specials = (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id)
    assert specials == (ours.bos_id, ours.eos_id, ours.pad_id)
    for prompt in (True, False):
        rendered = theirs.apply_chat_template(CHAT, add_generation_prompt=prompt, return_dict=False)
        assert rendered == ours.apply_chat_template(CHAT, add_generation_prompt=prompt)
