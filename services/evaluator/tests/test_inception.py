"""Inception FID is that of others on the same pictures and weights; weights of other networks are refused."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.image.fid import FrechetInceptionDistance
from torchvision.models import Inception3, inception  # type: ignore[import-untyped]
from vermeil_errors import InvalidInput, NotFound, VermeilError
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.models.inception import InceptionFolder, make_folder
from vermeil_evaluator.models.inception_network import InceptionNetwork, resized
from vermeil_evaluator.models.opening import open_model
from vermeil_evaluator.requests import Embed, Embedding
from vermeil_media import decode_image, encode_png
from vermeil_metrics import frechet_distance


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the right shapes, drawn by lot; whatever such a network sees, it tells apart."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, tensor in InceptionNetwork().state_dict().items():
        if name.endswith("running_var"):
            tensors[name] = torch.rand(tensor.shape, generator=generator) + 0.5
        else:
            spread = (2 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.1
            tensors[name] = torch.randn(tensor.shape, generator=generator) * spread
            tensors[name] += float(name.endswith("bn.weight"))
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def judge(weights: Path) -> Path:
    """The same as a folder."""
    folder = weights.parent / "judge"
    make_folder(weights, folder)
    return folder


def pictures(count: int, seed: int, height: int = 24, width: int = 32) -> list[bytes]:
    generator = np.random.default_rng(seed)
    rough = generator.integers(0, 256, (count, height // 8, width // 8, 3), np.uint8)
    return [encode_png(each) for each in rough.repeat(8, axis=1).repeat(8, axis=2)]


def features(judge: Path, files: Sequence[bytes]) -> NDArray[np.float32]:
    batches = open_model(judge).answer(iter([Embed(image=each) for each in files]), lambda: None)
    return np.stack([each.vector_D for batch in batches for each in batch if isinstance(each, Embedding)])


def as_tensor(files: Sequence[bytes]) -> Tensor:
    return torch.from_numpy(np.stack([decode_image(each, channels=3) for each in files])).permute(0, 3, 1, 2)


class TorchvisionInception(Inception3):  # type: ignore[misc]
    """Torchvision's network with what sets that of FID apart."""

    def __init__(self, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(num_classes=1008, aux_logits=False, transform_input=False, init_weights=False)
        self.load_state_dict(tensors, strict=False)
        self.fc = nn.Identity()
        self.dropout = nn.Identity()
        self.eval()
        self.patch = monkeypatch

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        seen_BCHW = (resized(pixels_BCHW.float(), 299) - 128) / 128
        plain = functional.avg_pool2d

        def mean(x_BCHW: Tensor, kernel_size: int, stride: int, padding: int) -> Tensor:
            if x_BCHW.shape[1] == 2048:
                return functional.max_pool2d(x_BCHW, kernel_size, stride, padding)
            return plain(x_BCHW, kernel_size, stride, padding, count_include_pad=False)

        with self.patch.context() as patch, torch.inference_mode():
            patch.setattr(inception.F, "avg_pool2d", mean)
            return Inception3.forward(self, seen_BCHW)  # type: ignore[no-any-return]


class First(nn.Module):
    """Some of the features: torchmetrics takes half a minute for the roots of all 2,048."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, features_BF: Tensor) -> Tensor:
        return features_BF[:, : self.count]


def test_the_network_is_torchvisions_but_for_what_sets_that_of_fid_apart(
    weights: Path, judge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TorchvisionInception(torch.load(weights, weights_only=True), monkeypatch)
    files = pictures(3, seed=1)
    np.testing.assert_allclose(features(judge, files), other(as_tensor(files)).numpy(), atol=1e-4)


def test_the_distance_is_torchmetrics_fid_with_the_same_network_and_pictures(
    weights: Path, judge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, real = pictures(12, seed=2), pictures(14, seed=3)
    other = TorchvisionInception(torch.load(weights, weights_only=True), monkeypatch)
    some = nn.Sequential(other, First(128))
    some.num_features = 128  # type: ignore[assignment]
    fid = FrechetInceptionDistance(feature=some)
    fid.update(as_tensor(real), real=True)
    fid.update(as_tensor(drawn), real=False)
    ours = frechet_distance(features(judge, drawn)[:, :128], features(judge, real)[:, :128])
    assert ours == pytest.approx(float(fid.compute()), rel=1e-3)
    assert ours > 0.1


def test_features_are_those_of_torch_fidelity(weights: Path, judge: Path) -> None:
    reason = "torch-fidelity is not installed: pip install torch-fidelity, and its features are compared too"
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason=reason)
    other = module.FeatureExtractorInceptionV3("ours", ["2048"], feature_extractor_weights_path=str(weights))
    for height, width in ((24, 32), (296, 304)):
        files = pictures(2, 4, height, width)
        np.testing.assert_allclose(features(judge, files), other(as_tensor(files))[0].numpy(), atol=1e-4)


def test_pictures_are_resized_as_tensorflow_1_does_it() -> None:
    row = torch.tensor([0.0, 10.0, 40.0])
    grown = resized(row.view(1, 1, 1, 3), 6)
    assert grown[0, 0].tolist() == [[0.0, 5.0, 10.0, 25.0, 40.0, 40.0]] * 6
    shrunk = resized(torch.arange(8.0).view(1, 1, 1, 8).repeat(1, 1, 8, 1), 4)
    assert shrunk[0, 0].tolist() == [[0.0, 2.0, 4.0, 6.0]] * 4


def test_features_depend_on_the_picture_alone(judge: Path) -> None:
    one, other = pictures(1, 5), pictures(1, 6, 40, 40)
    alone = features(judge, one)
    np.testing.assert_allclose(features(judge, [*one, *other, *one])[[0, 2]], alone.repeat(2, 0), atol=1e-4)


def test_weights_that_are_not_the_standard_ones_are_said_to_be_so(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("inception", str(weights), str(tmp_path / "judge")) == 0
    assert "of unknown origin" in capsys.readouterr().out
    assert "not to be called Inception FID" in open_model(tmp_path / "judge").about
    config = tmp_path / "judge" / "config.json"
    config.write_text('{"model_type": "inception-fid", "weights_sha256": "6726825d0af5f729"}')
    assert open_model(tmp_path / "judge").about.endswith("weights pt_inception-2015-12-05")


def test_a_state_dict_may_also_be_safetensors(weights: Path, judge: Path, tmp_path: Path) -> None:
    save_file(torch.load(weights, weights_only=True), tmp_path / "weights.safetensors")
    make_folder(tmp_path / "weights.safetensors", tmp_path / "judge")
    ours, theirs = ((each / "model.safetensors").read_bytes() for each in (tmp_path / "judge", judge))
    assert ours == theirs


def test_weights_of_other_networks_and_other_files_are_refused(weights: Path, tmp_path: Path) -> None:
    class Harmful:
        """Runs code when it is unpickled."""

        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "harm"),)  # type: ignore[return-value]

    tensors = torch.load(weights, weights_only=True)
    torchvision = {**tensors, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    for name, content, error, message in (
        (
            "imagenet.pth",
            torchvision,
            InvalidInput,
            "1,000 outputs: it is another Inception than that of FID",
        ),
        (
            "part.pth",
            dict(list(tensors.items())[:9]),
            InvalidInput,
            "bn.running_var is missing.* more; get pt_inception",
        ),
        ("list.pth", [1, 2], InvalidInput, "holds no state dict"),
        ("harm.pth", Harmful(), InvalidInput, "is no file of tensors"),
        ("text.safetensors", None, InvalidInput, "is no file of tensors"),
        ("absent.pth", None, NotFound, "no such file; get pt_inception-2015-12-05-6726825d.pth"),
    ):
        path = tmp_path / name
        if content is not None:
            torch.save(content, path)
        elif name.startswith("text"):
            path.write_text("hello")
        with pytest.raises(error, match=message):
            make_folder(path, tmp_path / "judge")
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "judge").exists()
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(InvalidInput, match="is no file of tensors"):
        make_folder(tmp_path / "pickle.pth", tmp_path / "judge")


def test_a_folder_without_its_weights_says_so_when_it_is_asked(judge: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((judge / "config.json").read_bytes())
    empty = InceptionFolder(tmp_path, "sha256:none")
    with pytest.raises(VermeilError, match=r"there is no model\.safetensors"):
        list(empty.answer(iter([Embed(image=pictures(1, 7)[0])]), lambda: None))
