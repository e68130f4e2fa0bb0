"""Python SDK of Vermeil: `Vermeil().chat("vermeil-nano", "Hello")`."""

from vermeil_client.client import AsyncVermeil, Vermeil, user_turn
from vermeil_client.resources import (
    AnswerImage,
    CreatedKey,
    Dataset,
    DrawingProgress,
    Job,
    Model,
    Picture,
    Piece,
)
from vermeil_client.settings import ClientSettings

__all__ = [
    "AnswerImage",
    "AsyncVermeil",
    "ClientSettings",
    "CreatedKey",
    "Dataset",
    "DrawingProgress",
    "Job",
    "Model",
    "Picture",
    "Piece",
    "Vermeil",
    "user_turn",
]
