"""What the generator reads from the environment."""

from typing import Literal

from pydantic import Field
from vermeil_settings import Address, ArtifactSettings


class GeneratorSettings(ArtifactSettings):
    """Where it listens, how many answers it writes at once, and what it may take for that."""

    bind: Address = "127.0.0.1:7606"
    """host:port on which answers are asked for (gRPC)."""
    generator_slots: int = Field(default=32, ge=1, le=4096)
    """Answers that one model writes at the same time, as far as there is memory for them."""
    generator_queue: int = Field(default=256, ge=0)
    """Answers that may wait for a slot of one model; more are told to come again."""
    generator_max_wait: float = Field(default=5.0, ge=0)
    """Seconds that an answer or a picture may have to wait for its turn, by what turns lately took; who would
    wait longer is told when to come again. The next in line may always wait. A longer queue gets no more
    done, for every place is taken anyway: five seconds even out bursts, and people leave after about ten."""
    generator_image_batch: int = Field(default=32, ge=1, le=1024)
    """Pictures that one model draws together."""
    generator_image_queue: int = Field(default=256, ge=64)
    """Pictures that may wait for one model; more are told to come again."""
    generator_prompt_images: int = Field(default=16, ge=1)
    """Pictures in the messages of one request; more are refused."""
    generator_prompt_pixels: int = Field(default=2**24, ge=1)
    """Width times height of such a picture, before it is brought to the model's size."""
    generator_answer_images: int = Field(default=4, ge=0)
    """Pictures that a model draws in one answer to a conversation."""
    generator_cache_bytes: int = Field(default=2**30, ge=0)
    """Keys and values of the answers that one text model is writing, in bytes; what does not fit waits. One
    answer as long as the context always fits."""
    generator_kept_bytes: int = Field(default=2**28, ge=0)
    """What was read and written lately, so that what begins alike is not read again; of each model that
    writes, in bytes."""
    generator_memory_bytes: int = Field(default=8 * 2**30, ge=2**20)
    """Memory for loaded models with their caches, in bytes; the least recently used make room."""
    generator_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run; auto takes a GPU if there is one."""
    generator_precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of weights in memory; auto keeps what the checkpoint has, or takes float32 on a CPU that has no
    instructions for bfloat16."""
