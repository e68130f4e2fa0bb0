"""Texts to unit vectors by dual models at hand: what comes at the same time is embedded together.

Torch is loaded when the first text is to be embedded: the service is ready before.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from vermeil_artifacts import ArtifactStore
from vermeil_rpc import Batcher

from vermeil_encoders_text.settings import EncoderTextSettings

Vector = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Sequence[Vector]]


class TextEmbedder:
    """The last used dual models by digest, and one queue before each."""

    def __init__(self, store: ArtifactStore, settings: EncoderTextSettings) -> None:
        self._get = lru_cache(maxsize=settings.encoder_models)(lambda digest: load_text_side(store, digest))
        self._batcher: Batcher[str, str, Vector] = Batcher(
            lambda digest, texts: self._get(digest)(texts),
            max_items=settings.encoder_max_batch,
            max_wait=settings.encoder_max_wait,
        )

    async def embed(self, digest: str, texts: Sequence[str]) -> list[Vector]:
        """A vector of each text, by the model of a digest."""
        return await self._batcher.ask(digest, texts)


def load_text_side(store: ArtifactStore, digest: str) -> Embed:
    """What embeds texts by a dual model; of a long text the first tokens count."""
    import torch  # noqa: PLC0415
    from vermeil_data import TextTokenizer  # noqa: PLC0415
    from vermeil_model import Conditions, DualEncoder, load_checkpoint  # noqa: PLC0415

    folder = store.fetch(digest)
    model = load_checkpoint(folder, DualEncoder, dtype=torch.float32)
    tokenizer = TextTokenizer.load(folder)

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> Sequence[Vector]:
        length = model.config.context_length
        captions = Conditions.of_captions([ids[:length].tolist() for ids in tokenizer.encode_batch(texts)])
        assert captions.tokens_BL is not None
        assert captions.lengths_B is not None
        return list(model.embed_texts(captions.tokens_BL, captions.lengths_B).numpy())

    return embed
