from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from vermeil_errors import InvalidInput
from vermeil_model import Conditions, diffusion, sample_images, to_pixels
from vermeil_model.image_sampling import Solver
from vermeil_model.testing import BY_CLASS, BY_TEXT, SMALL_IMAGE, small_image_model, small_images


def generators(seeds: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_saved_pipeline_draws_the_pictures_of_our_sampler(
    tmp_path: Path, solver: Solver, guidance: float
) -> None:
    model = small_image_model(**BY_CLASS)
    diffusion.pipeline_of(model, solver=solver).save_pretrained(tmp_path)
    pipeline = quiet(DiffusionPipeline.from_pretrained(tmp_path))
    assert type(pipeline).__name__ == "VermeilImagePipeline"
    ours = sample_images(
        model, Conditions.of_classes([2, None]), seeds=[7, 8], steps=5, guidance=guidance, solver=solver
    )
    asked = {"class_labels": [2, None], "num_inference_steps": 5, "guidance_scale": guidance}
    theirs = pipeline(**asked, generator=generators([7, 8]), output_type="pt").images
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
    pictures = pipeline(**asked, generator=generators([7, 8])).images
    assert np.abs(np.stack(pictures).astype(int) - to_pixels(ours).numpy()).max() <= 1
    array = pipeline(**asked, generator=generators([7, 8]), output_type="np", return_dict=False)[0]
    assert array.shape == (2, 12, 8, 3)


def test_captions_are_given_as_token_ids_or_as_words_with_a_tokenizer(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"a": 1, "red": 2, "dot": 3, "?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    model = small_image_model(**BY_TEXT)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    diffusion.pipeline_of(model, tokenizer=tokenizer).save_pretrained(tmp_path)
    pipeline = quiet(DiffusionPipeline.from_pretrained(tmp_path))
    ours = sample_images(model, Conditions.of_captions([[1, 2, 3]]), seeds=[5], steps=3, guidance=1.5)
    for prompt in ("a red dot", [[1, 2, 3]]):
        asked = {"num_inference_steps": 3, "guidance_scale": 1.5, "generator": generators([5])}
        theirs = pipeline(prompt, **asked, output_type="pt").images
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
    with pytest.raises(InvalidInput, match="without a tokenizer"):
        diffusion.pipeline_of(model)("a red dot")
    with pytest.raises(InvalidInput, match="not what this model was made for"):
        pipeline(class_labels=[1])


def test_pictures_without_any_condition_are_counted(tmp_path: Path) -> None:
    model = small_image_model()
    pipeline = quiet(diffusion.pipeline_of(model))
    theirs = pipeline(
        num_images=2, num_inference_steps=3, generator=generators([1, 2]), output_type="pt"
    ).images
    torch.testing.assert_close(theirs, sample_images(model, seeds=[1, 2], steps=3), atol=1e-4, rtol=0)
    with pytest.raises(InvalidInput, match="pil, np or pt"):
        pipeline(num_inference_steps=1, output_type="gif")


def test_the_transformer_and_the_scheduler_speak_as_others_of_diffusers() -> None:
    model = small_image_model()
    transformer = diffusion.VermeilImageTransformer.of(model)
    times = torch.tensor([0.25, 0.5])
    assert transformer(small_images(2), times).equal(model(small_images(2), times))
    assert dict(transformer.config.image) == SMALL_IMAGE.to_dict()
    scheduler = diffusion.VermeilFlowScheduler(solver="heun")
    scheduler.set_timesteps(3)
    assert scheduler.timesteps.tolist() == [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]
    noise = torch.ones(2, 3, 12, 8)
    assert scheduler.add_noise(small_images(2), noise, torch.ones(2)).equal(small_images(2))
    assert scheduler.add_noise(small_images(2), noise, torch.zeros(2)).equal(noise)
    assert scheduler.scale_model_input(noise, 0) is noise


def test_an_autoencoder_lets_the_same_tower_draw_larger_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=3,
        scaling_factor=0.5,
        shift_factor=0.1,
    ).eval()
    images = torch.sin(torch.arange(2 * 3 * 24 * 16) * 0.01).reshape(2, 3, 24, 16)
    latents = diffusion.encode_latents(vae, images)
    assert latents.shape == (2, 3, 12, 8)
    expected = vae.decode(latents / 0.5 + 0.1).sample
    torch.testing.assert_close(diffusion.decode_latents(vae, latents), expected)
    model = small_image_model()
    diffusion.pipeline_of(model, vae=vae).save_pretrained(tmp_path)
    pipeline = quiet(DiffusionPipeline.from_pretrained(tmp_path))
    theirs = pipeline(num_inference_steps=2, generator=generators([3]), output_type="pt").images
    ours = diffusion.decode_latents(vae, sample_images(model, seeds=[3], steps=2))
    assert theirs.shape == (1, 3, 24, 16)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)
