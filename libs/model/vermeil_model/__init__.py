"""The network of Vermeil and every form of it."""

from vermeil_model.accounting import ParameterCount, count_parameters, flops_per_token
from vermeil_model.adapter import AdaptedModel, Adapter, AdapterConfig, adapted, merged
from vermeil_model.adapter_files import is_adapter, load_adapter, save_adapter, save_merged
from vermeil_model.cache import KeyValueCache
from vermeil_model.checkpoint import (
    load_any_checkpoint,
    load_checkpoint,
    read_any_config,
    read_config,
    save_checkpoint,
)
from vermeil_model.conditions import NO_CLASS, Conditions
from vermeil_model.config import SIZES, ModelConfig, RopeScaling
from vermeil_model.conversation import BrokenEvent, Conversation, Markers, PictureEvent, continue_text
from vermeil_model.conversations import Conversations
from vermeil_model.cross_entropy import IGNORED_TARGET
from vermeil_model.decoder import Decoder, Request, TokenEvent
from vermeil_model.dual_config import DualConfig
from vermeil_model.dual_encoder import DualEncoder, contrastive_loss
from vermeil_model.easel import DrawingParameters, Easel
from vermeil_model.flow import flow_loss
from vermeil_model.fuse import fuse, fused_config
from vermeil_model.fused_answers import TextAnswer, answer, draw, prompted_losses, read_prompts, text_logprobs
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_losses import FusedLosses, fused_losses
from vermeil_model.fused_model import FusedModel, FusedOutput
from vermeil_model.fusions import FUSIONS, check_fusion, make_fused
from vermeil_model.generation import generate
from vermeil_model.image_classifier import ClassifierConfig, ImageClassifier, classification_loss
from vermeil_model.image_config import ImageConfig
from vermeil_model.image_model import ImageModel
from vermeil_model.image_sampling import SamplingStep, sample_images, sample_in_context
from vermeil_model.int8 import int8_model, is_int8, require_floats
from vermeil_model.int8_files import save_int8
from vermeil_model.llama import export_llama, import_llama
from vermeil_model.logprobs import TokenLogprob
from vermeil_model.packed_adapter import PackedAdapter
from vermeil_model.packed_image import PackedImageModel
from vermeil_model.packed_model import PackedModel
from vermeil_model.patches import from_pixels, to_pixels
from vermeil_model.picture_losses import picture_losses
from vermeil_model.sampling import SamplingParameters, TokenGuide
from vermeil_model.scoring import TokenScore, score, token_logprobs
from vermeil_model.text_form import TextForm
from vermeil_model.text_model import ModelOutput, TextModel

__all__ = [
    "FUSIONS",
    "IGNORED_TARGET",
    "NO_CLASS",
    "SIZES",
    "AdaptedModel",
    "Adapter",
    "AdapterConfig",
    "BrokenEvent",
    "ClassifierConfig",
    "Conditions",
    "Conversation",
    "Conversations",
    "Decoder",
    "DrawingParameters",
    "DualConfig",
    "DualEncoder",
    "Easel",
    "FusedConfig",
    "FusedLosses",
    "FusedModel",
    "FusedOutput",
    "ImageClassifier",
    "ImageConfig",
    "ImageModel",
    "KeyValueCache",
    "Markers",
    "ModelConfig",
    "ModelOutput",
    "PackedAdapter",
    "PackedImageModel",
    "PackedModel",
    "ParameterCount",
    "PictureEvent",
    "Request",
    "RopeScaling",
    "SamplingParameters",
    "SamplingStep",
    "TextAnswer",
    "TextForm",
    "TextModel",
    "TokenEvent",
    "TokenGuide",
    "TokenLogprob",
    "TokenScore",
    "adapted",
    "answer",
    "check_fusion",
    "classification_loss",
    "continue_text",
    "contrastive_loss",
    "count_parameters",
    "draw",
    "export_llama",
    "flops_per_token",
    "flow_loss",
    "from_pixels",
    "fuse",
    "fused_config",
    "fused_losses",
    "generate",
    "import_llama",
    "int8_model",
    "is_adapter",
    "is_int8",
    "load_adapter",
    "load_any_checkpoint",
    "load_checkpoint",
    "make_fused",
    "merged",
    "picture_losses",
    "prompted_losses",
    "read_any_config",
    "read_config",
    "read_prompts",
    "require_floats",
    "sample_images",
    "sample_in_context",
    "save_adapter",
    "save_checkpoint",
    "save_int8",
    "save_merged",
    "score",
    "text_logprobs",
    "to_pixels",
    "token_logprobs",
]
