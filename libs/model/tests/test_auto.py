from pathlib import Path

import pytest
import tokenizers
import torch
import transformers
import vermeil_model.auto
from vermeil_errors import InvalidInput
from vermeil_model import SamplingParameters, generate, load_checkpoint, save_checkpoint
from vermeil_model.testing import small_model, small_tokens


@pytest.fixture(params=[{}, {"tie_embeddings": False, "qk_norm": False}], ids=["tied", "untied"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, small_model(**request.param), extra={"bos_token_id": 1, "eos_token_id": 2})
    return tmp_path


def load(folder: Path) -> transformers.PreTrainedModel:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


@torch.no_grad()
def test_the_auto_classes_load_a_checkpoint_with_equal_logits(folder: Path) -> None:
    theirs = load(folder)
    assert isinstance(theirs, vermeil_model.auto.VermeilForConditionalGeneration)
    assert theirs.config.eos_token_id == 2
    assert theirs.config.num_hidden_layers == 2
    tokens = small_tokens(2, 9)
    assert torch.equal(theirs(tokens).logits, load_checkpoint(folder)(tokens).logits)


@torch.no_grad()
def test_saving_and_loading_by_transformers_keeps_the_logits(folder: Path, tmp_path: Path) -> None:
    first = load(folder)
    first.save_pretrained(tmp_path / "again")
    tokens = small_tokens(2, 9)
    expected = first(tokens).logits
    assert torch.equal(load(tmp_path / "again")(tokens).logits, expected)
    assert torch.equal(load_checkpoint(tmp_path / "again")(tokens).logits, expected)


@pytest.mark.parametrize("cache", ["dynamic", "static", None])
def test_generate_gives_our_greedy_tokens_for_left_padded_prompts(folder: Path, cache: str | None) -> None:
    prompts = [small_tokens(1, 9)[0].tolist(), small_tokens(1, 4, start=50)[0].tolist()]
    parameters = SamplingParameters(temperature=0, max_tokens=10, stop_ids=frozenset({2}))
    ours: dict[int, list[int]] = {0: [], 1: []}
    for event in generate(load_checkpoint(folder), prompts, parameters):
        ours[event.sequence].append(event.token)
    padded = torch.tensor([prompts[0], [0] * 5 + prompts[1]])
    mask = torch.tensor([[1] * 9, [0] * 5 + [1] * 4])
    theirs = load(folder).generate(
        padded,
        attention_mask=mask,
        max_new_tokens=10,
        do_sample=False,
        pad_token_id=0,
        use_cache=cache is not None,
        **({"cache_implementation": cache} if cache == "static" else {}),
    )
    for row, tokens in ours.items():
        assert theirs[row, 9 : 9 + len(tokens)].tolist() == tokens


def test_labels_give_the_shifted_loss_and_gradients(folder: Path) -> None:
    theirs = load(folder)
    tokens = small_tokens(2, 9)
    output = theirs(tokens, labels=tokens)
    expected = load_checkpoint(folder)(tokens[:, :-1], targets_BT=tokens[:, 1:]).loss
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert theirs.text.embedding.weight.grad is not None


def test_a_fresh_model_can_be_made_from_a_config() -> None:
    config = vermeil_model.auto.VermeilConfig(text=small_model().config.to_dict())
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert torch.equal(model.text.rotary.table, small_model().rotary.table)
    assert model.text.layers[0].attention.qkv.weight.std() > 0.01


def test_what_the_network_cannot_take_is_refused(folder: Path) -> None:
    theirs = load(folder)
    with pytest.raises(InvalidInput, match="exceed the context of 48"):
        theirs(small_tokens(1, 49))
    with pytest.raises(InvalidInput, match="inputs_embeds"):
        theirs(small_tokens(1, 4), inputs_embeds=torch.zeros(1, 4, 24))
    with pytest.raises(InvalidInput, match="attention_mask"):
        theirs(small_tokens(1, 4), attention_mask=torch.ones(1, 4, 4))


def test_a_tokenizer_in_the_folder_loads_by_auto_tokenizer(folder: Path) -> None:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<bos>", "<eos>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["some words, some more words"], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>"}'
    )
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    text = "more words: naïve"
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert loaded.eos_token_id == tokenizer.token_to_id("<eos>")
