"""Texts to unit vectors by models at hand: what comes at the same time is embedded together.

By a dual model in the space that it shares with pictures, by a text model as the mean of its last hidden
states. Torch is loaded when the first text is to be embedded: the service is ready before.

Letters: B texts, T tokens, D width.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from vermeil_artifacts import ArtifactStore, used_within
from vermeil_errors import InvalidInput
from vermeil_rpc import Batcher

from vermeil_encoders_text.settings import EncoderTextSettings

if TYPE_CHECKING:
    from vermeil_data import TextTokenizer
    from vermeil_model import DualEncoder, TextModel

Vector = npt.NDArray[np.float32]


class Embedded(NamedTuple):
    """A text as a point on the unit sphere."""

    vector: Vector
    num_tokens: int
    """Tokens that were read."""


class TextSide(NamedTuple):
    """What embeds texts."""

    embed: Callable[[Sequence[str]], Sequence[Embedded]]
    check: Callable[[Sequence[str]], None]
    """Refuses what `embed` cannot take: it would fail for all that are embedded together."""


class TextEmbedder:
    """The last used models by digest, and one queue before each."""

    def __init__(self, store: ArtifactStore, settings: EncoderTextSettings) -> None:
        self._get = lru_cache(maxsize=settings.encoder_models)(lambda digest: load_text_side(store, digest))
        self._batcher: Batcher[str, str, Embedded] = Batcher(
            lambda digest, texts: self._get(digest).embed(texts),
            max_items=settings.encoder_max_batch,
            max_wait=settings.encoder_max_wait,
        )

    async def embed(self, digest: str, texts: Sequence[str]) -> list[Embedded]:
        """A vector of each text, by the model of a digest."""
        await asyncio.to_thread(lambda: self._get(digest).check(texts))
        return await self._batcher.ask(digest, texts)


def load_text_side(store: ArtifactStore, digest: str) -> TextSide:
    """What embeds texts by a model."""
    import torch  # noqa: PLC0415
    from vermeil_data import TextTokenizer  # noqa: PLC0415
    from vermeil_model import DualEncoder, TextModel, load_any_checkpoint  # noqa: PLC0415

    with used_within():  # all of it is in memory then
        folder = store.fetch(digest)
        model = load_any_checkpoint(folder, dtype=torch.float32)
        tokenizer = TextTokenizer.load(folder)
    if isinstance(model, DualEncoder):
        return TextSide(lambda texts: _by_dual(model, tokenizer, texts), lambda _: None)
    if isinstance(model, TextModel):
        return TextSide(
            lambda texts: _by_mean(model, tokenizer, texts),
            lambda texts: _check_lengths(model.config.context_length, tokenizer, texts),
        )
    raise InvalidInput(
        f"a {type(model).__name__} embeds no texts", field="model", fix="name a dual model or a text model"
    )


def _by_dual(model: "DualEncoder", tokenizer: "TextTokenizer", texts: Sequence[str]) -> list[Embedded]:
    """Of a long text the first tokens count."""
    import torch  # noqa: PLC0415
    from vermeil_model import Conditions  # noqa: PLC0415

    length = model.config.context_length
    captions = Conditions.of_captions([ids[:length].tolist() for ids in tokenizer.encode_batch(texts)])
    assert captions.tokens_BL is not None
    assert captions.lengths_B is not None
    with torch.inference_mode():
        vectors_BD = model.embed_texts(captions.tokens_BL, captions.lengths_B).numpy()
    return [Embedded(vector, int(num)) for vector, num in zip(vectors_BD, captions.lengths_B, strict=True)]


def _check_lengths(length: int, tokenizer: "TextTokenizer", texts: Sequence[str]) -> None:
    for index, text in enumerate(texts):
        # No token is shorter than a byte: most texts need no counting.
        if len(text.encode()) >= length and (num := len(tokenizer.encode(text)) + 1) > length:
            raise InvalidInput(
                f"has {num:,} tokens with <bos>, more than the model's context of {length:,}",
                field=f"texts[{index}]",
                fix="send a shorter text, or pieces of it",
            )


def _by_mean(model: "TextModel", tokenizer: "TextTokenizer", texts: Sequence[str]) -> list[Embedded]:
    """The mean over the text's own tokens, not that of <bos>, which says nothing of it."""
    import torch  # noqa: PLC0415

    ids = [[tokenizer.bos_id, *each.tolist()] for each in tokenizer.encode_batch(texts)]
    longest = max(map(len, ids))
    tokens_BT = torch.tensor([each + [tokenizer.bos_id] * (longest - len(each)) for each in ids])
    # Tokens see only those before them, so what fills up a row changes nothing.
    with torch.inference_mode():
        hidden_BTD = model.hidden(tokens_BT)
        vectors = [
            torch.nn.functional.normalize(hidden_TD[min(1, len(each) - 1) : len(each)].mean(0), dim=0)
            for hidden_TD, each in zip(hidden_BTD, ids, strict=True)
        ]
    return [Embedded(vector.numpy(), len(each)) for vector, each in zip(vectors, ids, strict=True)]
