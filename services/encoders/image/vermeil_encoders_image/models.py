"""Dual models at hand, and one queue before them: what comes at the same time is embedded together."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from vermeil_artifacts import ArtifactStore, used_within
from vermeil_media import Pixels
from vermeil_rpc import Batcher

from vermeil_encoders_image.settings import EncoderImageSettings

if TYPE_CHECKING:
    from vermeil_encoders_image.dual_model import DualModel

Vector = npt.NDArray[np.float32]


class DualModels:
    """The last used dual models by digest."""

    def __init__(self, store: ArtifactStore, settings: EncoderImageSettings) -> None:
        self._get = lru_cache(maxsize=settings.encoder_models)(lambda digest: _load(store, digest))
        limits = {"max_items": settings.encoder_max_batch, "max_wait": settings.encoder_max_wait}
        self._texts: Batcher[str, str, Vector] = Batcher(self._embed_texts, **limits)  # type: ignore[arg-type]
        self._pictures: Batcher[str, Pixels, Vector] = Batcher(self._embed_pictures, **limits)  # type: ignore[arg-type]

    async def embed(self, digest: str, texts: Sequence[str], files: Sequence[bytes]) -> list[Vector]:
        """Vectors of texts, then of pictures, by the model of a digest."""
        pixels = await asyncio.to_thread(self._pixels, digest, files)
        vectors = await self._texts.ask(digest, texts) if texts else []
        return vectors + (await self._pictures.ask(digest, pixels) if pixels else [])

    def _pixels(self, digest: str, files: Sequence[bytes]) -> list[Pixels]:
        model = self._get(digest)
        return [model.pixels(raw, f"images[{index}]") for index, raw in enumerate(files)]

    def _embed_texts(self, digest: str, texts: Sequence[str]) -> Sequence[Vector]:
        return list(self._get(digest).embed_texts(texts))

    def _embed_pictures(self, digest: str, pixels: Sequence[Pixels]) -> Sequence[Vector]:
        return list(self._get(digest).embed_pictures(pixels))


def _load(store: ArtifactStore, digest: str) -> "DualModel":
    # Seconds of imports, for those who embed: the service is ready before.
    from vermeil_encoders_image.dual_model import DualModel  # noqa: PLC0415

    with used_within():  # all of it is in memory then
        return DualModel(store.fetch(digest))
