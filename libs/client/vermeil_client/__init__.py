"""Python SDK of Vermeil: `Vermeil().chat("vermeil-nano", "Hello")`."""

from vermeil_client.client import Vermeil
from vermeil_client.resources import Dataset, DrawingProgress, Job, Model, Picture, Piece
from vermeil_client.settings import ClientSettings

__all__ = [
    "ClientSettings",
    "Dataset",
    "DrawingProgress",
    "Job",
    "Model",
    "Picture",
    "Piece",
    "Vermeil",
]
