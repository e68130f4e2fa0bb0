import dataclasses
import json
from pathlib import Path

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import DualConfig, DualEncoder, contrastive_loss, load_checkpoint, save_checkpoint
from vermeil_model.dual_encoder import belong_together

SMALL = DualConfig(
    image_height=12,
    image_width=8,
    channels=3,
    patch_size=4,
    vocab_size=23,
    context_length=6,
    embedding_width=10,
    depth=2,
    width=24,
    num_heads=3,
)
TOKENS = torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0], [1, 2, 3, 7], [6, 0, 0, 0], [4, 5, 9, 9]])
LENGTHS = torch.tensor([3, 2, 3, 1, 2])


def images(count: int) -> torch.Tensor:
    return torch.sin(torch.arange(count * 3 * 12 * 8) * 0.37).reshape(count, 3, 12, 8)


@torch.no_grad()
def test_embeddings_are_unit_vectors_and_each_input_stands_alone() -> None:
    model = DualEncoder(SMALL)
    pictures, captions = model.embed_images(images(5)), model.embed_texts(TOKENS, LENGTHS)
    for vectors in (pictures, captions):
        assert vectors.shape == (5, 10)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(model.embed_images(images(5)[2:3]), pictures[2:3], atol=1e-5, rtol=0)
    alone = model.embed_texts(TOKENS[1:2, :2], LENGTHS[1:2])
    torch.testing.assert_close(alone, captions[1:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(captions[0], captions[2], atol=1e-5, rtol=0)


def test_equal_captions_and_equal_groups_belong_together() -> None:
    together = belong_together(TOKENS, LENGTHS)
    others = (together & ~torch.eye(5, dtype=torch.bool)).nonzero().tolist()
    assert together.diagonal().all()
    assert others == [[0, 2], [1, 4], [2, 0], [4, 1]]
    grouped = belong_together(TOKENS, LENGTHS, torch.tensor([-1, -1, 8, 8, 2]))
    assert (grouped & ~together).nonzero().tolist() == [[2, 3], [3, 2]]


@torch.no_grad()
def test_the_loss_is_the_mean_of_both_searches() -> None:
    model = DualEncoder(SMALL)
    pictures, captions = (
        x.double() for x in (model.embed_images(images(5)), model.embed_texts(TOKENS, LENGTHS))
    )
    scores = pictures @ captions.t() / 0.07
    expected = 0.0
    for row, others in enumerate(belong_together(TOKENS, LENGTHS)):
        right = others.nonzero().flatten()
        expected -= scores[row].log_softmax(0)[right].mean() / 10
        expected -= scores[:, row].log_softmax(0)[right].mean() / 10
    ours = contrastive_loss(model, images(5), TOKENS, LENGTHS)
    torch.testing.assert_close(ours.double(), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(model(images(5), TOKENS, LENGTHS), ours)
    with torch.autocast("cpu", torch.bfloat16):
        assert contrastive_loss(model, images(5), TOKENS, LENGTHS).dtype == torch.float32


def test_pairs_find_one_another_after_some_learning() -> None:
    model = DualEncoder(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    tokens = torch.arange(8)[:, None] + torch.tensor([0, 5])
    lengths = torch.full((8,), 2)
    for _ in range(30):
        loss = model(images(8), tokens, lengths)
        loss.backward()
        assert all(weight.grad is not None for weight in model.parameters())
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found = (model.embed_images(images(8)) @ model.embed_texts(tokens, lengths).t()).argmax(1)
    assert found.tolist() == list(range(8))


@torch.no_grad()
def test_a_saved_encoder_embeds_the_same_when_loaded(tmp_path: Path) -> None:
    model = DualEncoder(SMALL)
    save_checkpoint(tmp_path, model)
    loaded = load_checkpoint(tmp_path, DualEncoder)
    assert torch.equal(loaded.embed_images(images(2)), model.embed_images(images(2)))
    assert torch.equal(loaded.embed_texts(TOKENS, LENGTHS), model.embed_texts(TOKENS, LENGTHS))
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "vermeil-dual"
    assert DualConfig.from_dict(SMALL.to_dict()) == SMALL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_width": 9}, "no multiple of patch_size"),
        ({"num_heads": 5}, "does not divide width"),
        ({"embedding_width": 0}, "positive whole number"),
        ({"context_length": 0}, "positive whole number"),
        ({"vocab_size": 0}, "positive whole number"),
    ],
)
def test_an_impossible_size_is_refused_by_name(change: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        dataclasses.replace(SMALL, **change)
    assert caught.value.field == next(iter(change))
    assert caught.value.fix


def test_what_does_not_fit_is_refused() -> None:
    model = DualEncoder(SMALL)
    with pytest.raises(InvalidInput, match="use an encoder of their size"):
        model.embed_images(torch.zeros(1, 1, 12, 8))
    with pytest.raises(InvalidInput, match="exceed the context of 6"):
        model.embed_texts(torch.zeros(1, 7, dtype=torch.long), torch.tensor([7]))
    assert (
        DualConfig.from_depth(
            4, image_height=28, image_width=28, channels=1, patch_size=4, vocab_size=300
        ).tower.width
        == 256
    )
