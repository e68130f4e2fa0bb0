"""The first thing a newcomer does, with far fewer steps."""

import subprocess
import sys
from pathlib import Path

import pytest
from vermeil_local.testing import Installation
from vermeil_media import decode_image


@pytest.mark.slow
def test_the_quickstart_ends_with_a_model_that_reads_writes_and_draws(vermeil: Installation) -> None:
    short = ["--max-bytes", "200000", "--scenes", "200"]
    for what in ("text", "image", "fused"):
        short += [f"--{what}-set", "run.steps=2", f"--{what}-set", "run.evaluate_batches=1"]
        short += [f"--{what}-set", "schedule.warmup_steps=0", f"--{what}-set", "run.evaluate_every=2"]
    short += ["--text-set", "data.tokenizer.vocab_size=300", "--image-set", "image.sampling_steps=2"]
    short += ["--fused-set", "image.sampling_steps=2"]
    done = subprocess.run(
        [sys.executable, "-m", "vermeil_local.quickstart", *short],
        env=vermeil.environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{vermeil.logs()}"
    assert (
        "models/nano/versions/1 and models/shapes-image/versions/1 → models/fused-shapes/versions/1"
        in done.stdout
    )
    for turn in ("[", "how many shapes are there?  (in truth: ", "a red circle\n"):
        assert f"› {turn}" in done.stdout
    folder = Path(vermeil.home) / "quickstart"
    assert decode_image((folder / "shown.png").read_bytes()).shape == (32, 32, 3)
    height, width, _ = decode_image((folder / "drawn.png").read_bytes()).shape
    assert width > height  # a row of eight for each of five prompts
