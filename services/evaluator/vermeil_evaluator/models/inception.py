"""The network of Inception FID in a folder, made of weights that the user has.

Weights are never fetched, and never unpickled: of a .pth file tensors alone are read. Unusual: the folder
says where its weights came from, for only those of the standard file give what may be called Inception FID.
"""

# ruff: noqa: ARG002 every model is called alike

import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import file_digest
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from vermeil_errors import InvalidInput, NotFound
from vermeil_media import decode_image
from vermeil_model.tensor_files import TensorFiles, check_tensors, read_json, write_json, write_tensors
from vermeil_model.unfilled import unfilled

from vermeil_evaluator.models.inception_network import NUM_OUTPUTS, InceptionNetwork
from vermeil_evaluator.models.model import Check, PictureSize, in_runs
from vermeil_evaluator.requests import Answer, Embed, Embedding, Request

MODEL_TYPE = "inception-fid"
STANDARD = "pt_inception-2015-12-05"
STANDARD_SHA256 = "6726825d"
"""What the digest of the standard file begins with: it is part of that file's name."""
_PICTURES_AT_ONCE = 32
_WHERE = f"get {STANDARD}-{STANDARD_SHA256}.pth, which pytorch-fid and torch-fidelity publish"


class InceptionFolder:
    """Answers Embed for pictures of any size: the 2,048 features of the last pooling."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.digest = digest
        self.about = f"Inception-v3 as FID has it, weights {_origin(folder)}"
        self.condition = "none"
        self.class_names: tuple[str, ...] = ()
        self.picture_size: PictureSize | None = None
        self.space = "inception"
        self._folder = folder

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """32 pictures at a time."""
        for run in in_runs(requests, _PICTURES_AT_ONCE, check, Embed, self.about):
            answers: list[Answer] = []
            for _, alike in groupby(map(self._pixels, run), key=np.shape):
                answers += self._embed(list(alike))
            yield answers

    def decode(self, ids: Sequence[int]) -> str:
        """It reads no text."""
        raise InvalidInput("Inception reads no text")

    def reads(self, tokenizer: bytes) -> bool:
        """It reads no text."""
        return False

    def _pixels(self, request: Embed) -> "np.typing.NDArray[np.uint8]":
        if not request.image:
            raise InvalidInput("Inception reads no text", field="spec.judge", fix="name a dual encoder")
        return decode_image(request.image, channels=3)

    @torch.inference_mode()
    def _embed(self, pictures: Sequence["np.typing.NDArray[np.uint8]"]) -> list[Answer]:
        pixels_BCHW = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        device = self._network.fc.weight.device
        features_BF = self._network.features(pixels_BCHW.to(device)).cpu().numpy()
        return [Embedding(features, np.zeros(0, np.float32)) for features in features_BF]

    @cached_property
    def _network(self) -> InceptionNetwork:
        files = TensorFiles(self._folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return network({name: files.read(name) for name in files.names}, self._folder).to(device)


def network(tensors: Mapping[str, Tensor], source: Path) -> InceptionNetwork:
    """The network with these weights; those of another network are refused by name."""
    with unfilled():
        made = InceptionNetwork().eval().requires_grad_(requires_grad=False)
    expected = {name: tensor.shape for name, tensor in made.state_dict().items()}
    found = {name: tensor for name, tensor in tensors.items() if _is_weight(name)}
    last = found.get("fc.weight")
    if last is not None and len(last) != NUM_OUTPUTS:
        raise InvalidInput(
            f"{source} has {len(last):,} outputs: it is another Inception than that of FID, which has "
            f"{NUM_OUTPUTS:,}",
            field="weights",
            fix=f"{_WHERE}; torchvision's weights for ImageNet are others",
        )
    try:
        check_tensors({name: tensor.shape for name, tensor in found.items()}, expected, source)
    except InvalidInput as error:
        raise InvalidInput(error.message, field="weights", fix=_WHERE, violations=error.violations) from error
    made.load_state_dict(found, strict=False, assign=True)  # batch norms ask for their counts
    return made


def make_folder(weights: Path, folder: Path) -> str:
    """Make a judge of a file of weights, .safetensors or .pth; what its weights are."""
    if not weights.is_file():
        raise NotFound("no such file", field="weights", value=str(weights), fix=_WHERE)
    tensors = _read(weights)
    network(tensors, weights)
    with weights.open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    write_json(folder / "config.json", {"model_type": MODEL_TYPE, "weights_sha256": sha256})
    kept = {name: tensor.float() for name, tensor in tensors.items() if _is_weight(name)}
    write_tensors(folder / "model.safetensors", kept)
    return _origin(folder)


def _origin(folder: Path) -> str:
    """Which weights a folder's are, as far as can be told."""
    sha256 = str(read_json(folder / "config.json").get("weights_sha256", ""))
    if sha256.startswith(STANDARD_SHA256):
        return STANDARD
    return f"of unknown origin ({sha256[:8] or 'no digest'}): not to be called Inception FID"


def _read(weights: Path) -> dict[str, Tensor]:
    try:
        if weights.suffix == ".safetensors":
            return load_file(weights)
        with warnings.catch_warnings(action="ignore"):  # of pickles of other versions
            values = torch.load(weights, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise InvalidInput(
            f"is no file of tensors: {reason}", field="weights", value=str(weights), fix=_WHERE
        ) from error
    if not isinstance(values, dict) or not all(isinstance(each, Tensor) for each in values.values()):
        raise InvalidInput("holds no state dict", field="weights", value=str(weights), fix=_WHERE)
    return values


def _is_weight(name: str) -> bool:
    """Some files also have how many batches the batch norms saw, which nobody needs."""
    return not name.endswith("num_batches_tracked")
