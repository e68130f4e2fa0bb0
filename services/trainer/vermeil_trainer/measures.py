"""What a finished model can do, in figures that people read beside its loss: on the validation split.

Letters: N pictures, K captions, E embedding width.
"""

import torch
from torch import Tensor
from vermeil_data import EncodedImages
from vermeil_model import Conditions, DualEncoder, ImageClassifier, from_pixels

from vermeil_trainer.captions import captions_of

_AT_ONCE = 256
_MOST_SEARCHED = 1000
"""Pictures among which captions look for theirs."""


@torch.no_grad()
def accuracy(encoded: EncodedImages, model: ImageClassifier) -> dict[str, float]:
    """Part of all validation pictures whose class is told right."""
    pixels_NCHW, classes_N = encoded.pixels("validation"), torch.tensor(encoded.classes("validation"))
    device = model.head.weight.device
    found_N = [
        model.logits(from_pixels(torch.tensor(pixels_NCHW[start : start + _AT_ONCE])).to(device)).argmax(1)
        for start in range(0, len(pixels_NCHW), _AT_ONCE)
    ]
    return {"validation_accuracy": float((torch.cat(found_N).cpu() == classes_N).float().mean())}


@torch.no_grad()
def recall(encoded: EncodedImages, model: DualEncoder) -> dict[str, float]:
    """Part of different captions that find a picture of theirs first, or among the first ten."""
    pixels_NCHW = torch.tensor(encoded.pixels("validation")[:_MOST_SEARCHED])
    captions, owners = captions_of(encoded, "validation", len(pixels_NCHW), model.config.context_length)
    if not captions:
        return {}
    device = model.position.device
    pictures_NE = torch.cat(
        [
            model.embed_images(from_pixels(pixels_NCHW[start : start + _AT_ONCE]).to(device))
            for start in range(0, len(pixels_NCHW), _AT_ONCE)
        ]
    )
    queries_KE = torch.cat(
        [_embedded(captions[start : start + _AT_ONCE], model) for start in range(0, len(captions), _AT_ONCE)]
    )
    nearest = (queries_KE @ pictures_NE.T).topk(min(10, len(pictures_NE))).indices.tolist()
    num_first = sum(row[0] in own for row, own in zip(nearest, owners, strict=True))
    num_among = sum(not own.isdisjoint(row) for row, own in zip(nearest, owners, strict=True))
    return {
        "validation_recall_at_1": num_first / len(captions),
        "validation_recall_at_10": num_among / len(captions),
    }


def _embedded(captions: list[list[int]], model: DualEncoder) -> Tensor:
    asked = Conditions.of_captions(captions).to(model.position.device)
    assert asked.tokens_BL is not None
    assert asked.lengths_B is not None
    return model.embed_texts(asked.tokens_BL, asked.lengths_B)
