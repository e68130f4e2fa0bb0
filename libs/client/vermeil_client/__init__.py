"""Python SDK of Vermeil: `Vermeil().chat("vermeil-nano", "Hello")`."""

from vermeil_client.client import Vermeil
from vermeil_client.resources import Dataset, Job, Model, Piece
from vermeil_client.settings import ClientSettings

__all__ = ["ClientSettings", "Dataset", "Job", "Model", "Piece", "Vermeil"]
