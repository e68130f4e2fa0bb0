"""A model version in memory: one that writes, one that draws, one that does both, or an adapter."""

from pathlib import Path

from vermeil_errors import InvalidInput
from vermeil_model import FusedConfig, ImageConfig, ModelConfig, is_adapter, read_any_config

from vermeil_generator.loaded_adapter import LoadedAdapter, load_over
from vermeil_generator.loaded_fused import LoadedFusedModel, load_fused
from vermeil_generator.loaded_image import LoadedImageModel, load_image
from vermeil_generator.loaded_text import LoadedTextModel, load_text
from vermeil_generator.settings import GeneratorSettings

LoadedModel = LoadedTextModel | LoadedAdapter | LoadedImageModel | LoadedFusedModel


def load(
    name: str, folder: Path, settings: GeneratorSettings, base: LoadedModel | None = None
) -> LoadedModel:
    """Read a model folder, whichever network it holds, and start what works on it; `base` is an adapter's."""
    if base is not None:
        return load_over(name, folder, base)
    if is_adapter(folder):
        raise InvalidInput.for_field(
            "model", name, "is an adapter that was registered without its base", "register it with its base"
        )
    config = read_any_config(folder)
    if isinstance(config, ModelConfig):
        return load_text(name, folder, settings)
    if isinstance(config, ImageConfig):
        return load_image(name, folder, settings)
    if isinstance(config, FusedConfig):
        return load_fused(name, folder, settings)
    raise InvalidInput.for_field(
        "model",
        name,
        f"neither writes nor draws (its config is a {type(config).__name__})",
        "name a model of text or of images",
    )


def writing(model: LoadedModel) -> LoadedTextModel | LoadedAdapter | LoadedFusedModel:
    """The model, if it writes."""
    if not isinstance(model, LoadedImageModel):
        return model
    raise InvalidInput.for_field(
        "model",
        model.name,
        "draws pictures and writes no text",
        "ask it for pictures (GenerateImages, POST /v1/images/generations), or name a text model",
    )


def drawing(model: LoadedModel) -> LoadedImageModel:
    """The model, if it draws."""
    if isinstance(model, LoadedFusedModel):
        return model.drawing
    if isinstance(model, LoadedImageModel):
        return model
    raise InvalidInput.for_field(
        "model",
        model.name,
        "writes text and draws no pictures",
        "ask it for text (Generate, POST /v1/chat/completions), or name a model of images",
    )
