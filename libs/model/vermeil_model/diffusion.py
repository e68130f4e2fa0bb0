"""Vermeil for Hugging Face diffusers: importing this module makes DiffusionPipeline know it.

    import vermeil_model.diffusion
    pipeline = DiffusionPipeline.from_pretrained(folder)  # what save_pretrained wrote
    pipeline(class_labels=[3], generator=[torch.Generator().manual_seed(7)]).images

The only module that imports diffusers. Network, guidance and solvers are those of image_sampling.py, so a
seed gives the same picture here. Unusual: time runs from 0 (noise) to 1 (picture), and the model output
that the scheduler takes is the predicted picture.

Letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from vermeil_errors import InvalidInput

from vermeil_model.conditions import Conditions
from vermeil_model.flow import add_noise, velocity
from vermeil_model.image_config import ImageConfig
from vermeil_model.image_model import ImageModel
from vermeil_model.image_sampling import Solver, check_request, guided
from vermeil_model.patches import to_pixels
from vermeil_model.unfilled import unfilled


class VermeilImageTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """An ImageModel as a diffusers model; `image` holds the fields of ImageConfig."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, image: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.network = ImageModel(ImageConfig.from_dict(image))

    @classmethod
    def of(cls, model: ImageModel) -> VermeilImageTransformer:
        """The same network, sharing its weights."""
        with unfilled():
            transformer: VermeilImageTransformer = cls(image=model.config.to_dict())
        transformer.network = model
        transformer.eval()
        return transformer

    def forward(self, sample: Tensor, timestep: Tensor, conditions: Conditions | None = None) -> Tensor:
        """The pictures (B, C, H, W) expected behind noisy ones at times (B) of 0 … 1."""
        predicted: Tensor = self.network(sample, timestep, conditions)
        return predicted


@dataclass
class VermeilFlowSchedulerOutput(BaseOutput):
    """What a step gives."""

    prev_sample: Tensor
    """The pictures at the next time."""


class VermeilFlowScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """Euler or Heun along the flow, as a diffusers scheduler; Heun looks twice at every step but the last."""

    order = 1

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, solver: Solver = "euler") -> None:
        self.solver = solver
        self.init_noise_sigma = 1.0
        self.set_timesteps(50)

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Equal steps from 0 to 1; Heun's second looks stand between them."""
        self.num_inference_steps = num_inference_steps
        times = [step / num_inference_steps for step in range(num_inference_steps)]
        if self.solver == "heun":
            times = [times[0], *(time for time in times[1:] for _ in range(2))]
        self.timesteps = torch.tensor(times, dtype=torch.float64, device=device)
        self._step = 0
        self._begun: tuple[Tensor, Tensor] | None = None

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:  # noqa: ARG002
        """The sample as it is."""
        return sample

    def step(
        self, model_output: Tensor, timestep: Tensor | float, sample: Tensor, *, return_dict: bool = True
    ) -> VermeilFlowSchedulerOutput | tuple[Tensor]:
        """Move `sample` on, given the picture predicted of it at `timestep`."""
        moved = self._moved(model_output, float(timestep), sample)
        return VermeilFlowSchedulerOutput(prev_sample=moved) if return_dict else (moved,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Pictures part of the way from noise; timesteps are 0 … 1."""
        return add_noise(original_samples, noise, timesteps.to(original_samples.dtype))

    def _moved(self, predicted: Tensor, time: float, sample: Tensor) -> Tensor:
        steps = self.num_inference_steps
        if self._begun is not None:
            start, slope = self._begun
            self._begun = None
            self._step += 1
            return start + (slope + velocity(predicted, sample, time)) * ((1 / steps) / 2)
        if self._step == steps - 1:
            self._step += 1
            return predicted
        slope = velocity(predicted, sample, time)
        if self.solver == "heun":
            self._begun = (sample, slope)
        else:
            self._step += 1
        return sample + slope * (1 / steps)


class VermeilImagePipeline(DiffusionPipeline):
    """Pictures of classes or prompts."""

    model_cpu_offload_seq = "transformer->vae"  # type: ignore[assignment]
    _optional_components = ["tokenizer", "vae"]  # noqa: RUF012

    def __init__(
        self,
        transformer: VermeilImageTransformer,
        scheduler: VermeilFlowScheduler,
        tokenizer: PreTrainedTokenizerFast | None = None,
        vae: AutoencoderKL | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(  # type: ignore[no-untyped-call]
            transformer=transformer, scheduler=scheduler, tokenizer=tokenizer, vae=vae
        )

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | Sequence[Sequence[int]] | None = None,
        *,
        class_labels: Sequence[int | None] | None = None,
        num_images: int | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> ImagePipelineOutput | tuple[Any]:
        """One picture a prompt (words, or token ids where there is no tokenizer) or class.

        A list of generators gives every picture its own noise, that of `sample_images` with these seeds.
        `output_type` is pil, np (B, H, W, C; 0 … 1) or pt (B, C, H, W; −1 … 1).
        """
        conditions = self._conditions(prompt, class_labels)
        count = num_images or (1 if conditions is None else len(conditions))
        model = self.transformer.network
        config: ImageConfig = model.config
        check_request(
            config,
            conditions,
            seeds=range(count),
            steps=num_inference_steps,
            guidance=guidance_scale,
            solver=self.scheduler.solver,
        )
        shape = (count, config.channels, config.image_height, config.image_width)
        device = self._execution_device
        sample = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        predict = guided(model, None if conditions is None else conditions.to(device), guidance_scale)
        self.scheduler.set_timesteps(num_inference_steps)
        for time in self.progress_bar(self.scheduler.timesteps):
            sample = self.scheduler.step(predict(sample, float(time)), time, sample).prev_sample
        if self.vae is not None:
            sample = decode_latents(self.vae, sample)
        images = _in_form(sample, output_type)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _conditions(
        self,
        prompt: str | Sequence[str] | Sequence[Sequence[int]] | None,
        class_labels: Sequence[int | None] | None,
    ) -> Conditions | None:
        if class_labels is not None:
            return Conditions.of_classes(class_labels)
        if prompt is None:
            return None
        prompts: list[str | Sequence[int]] = [prompt] if isinstance(prompt, str) else [*prompt]
        return Conditions.of_captions([self._token_ids(one) for one in prompts])

    def _token_ids(self, prompt: str | Sequence[int]) -> Sequence[int]:
        if not isinstance(prompt, str):
            return prompt
        if self.tokenizer is None:
            raise InvalidInput.for_field(
                "prompt", prompt, "cannot be read without a tokenizer", "Give token ids or a tokenizer."
            )
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return ids


def pipeline_of(
    model: ImageModel,
    *,
    solver: Solver = "euler",
    tokenizer: PreTrainedTokenizerFast | None = None,
    vae: AutoencoderKL | None = None,
) -> VermeilImagePipeline:
    """A model of ours as a pipeline, to be used or saved."""
    scheduler = VermeilFlowScheduler(solver=solver)
    return VermeilImagePipeline(VermeilImageTransformer.of(model), scheduler, tokenizer, vae)


@torch.no_grad()
def encode_latents(vae: AutoencoderKL, images_BCHW: Tensor) -> Tensor:
    """Latents about as large as unit noise of pictures of −1 … 1: what an image tower trains on instead.

    Its config then has the latents' channels, height and width.
    """
    shift, scale = _range_of(vae)
    latents: Tensor = vae.encode(images_BCHW.to(vae.dtype)).latent_dist.mode()
    return (latents.float() - shift) * scale


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents_BCHW: Tensor) -> Tensor:
    """The pictures, −1 … 1, of latents that `encode_latents` or an image tower made."""
    shift, scale = _range_of(vae)
    images: Tensor = vae.decode((latents_BCHW / scale + shift).to(vae.dtype)).sample
    return images.float()


def _range_of(vae: AutoencoderKL) -> tuple[float, float]:
    """What is taken from latents and what the rest is multiplied by, to make them about unit size."""
    config: Any = vae.config
    return config.shift_factor or 0.0, config.scaling_factor


def _in_form(images_BCHW: Tensor, output_type: str) -> Any:
    if output_type == "pt":
        return images_BCHW
    pixels_BHWC = to_pixels(images_BCHW).cpu().numpy()
    if output_type == "np":
        return pixels_BHWC.astype("float32") / 255
    if output_type == "pil":
        return DiffusionPipeline.numpy_to_pil(pixels_BHWC / 255)  # type: ignore[no-untyped-call]
    raise InvalidInput.for_field("output_type", output_type, "is not known", "Use pil, np or pt.")


diffusers.VermeilImagePipeline = VermeilImagePipeline  # type: ignore[attr-defined]
