"""A recipe as plain values: every field of vermeil.training.v1.Recipe, its default and its range.

Knows neither YAML nor wire nor torch. Fields left open (None) follow from others: sizes from the size's
name, intervals from the number of steps.
"""

from dataclasses import dataclass, field

from vermeil_trainer.rules import choice, each, free, number, whole


@dataclass(frozen=True)
class ModelSpec:
    """The network."""

    size: str = choice("", "nano", "tiny", "small", "base", "large")
    """Empty means nano, unless depth or initial is given."""
    depth: int | None = whole(None, 1, 256)
    """Number of layers; the other sizes follow from it."""
    width: int | None = whole(None, 1, 65_536)
    """Width of the residual stream; a multiple of num_heads unless head_width is given."""
    num_heads: int | None = whole(None, 1, 1024)
    """Query heads."""
    head_width: int | None = whole(None, 2, 1024)
    """Width of each head, even; none means width / num_heads."""
    num_key_value_heads: int | None = whole(None, 1, 1024)
    """Key and value heads; divides num_heads."""
    feed_forward_width: int | None = whole(None, 1, 1_048_576)
    """Width of the feed-forward layer."""
    context_length: int | None = whole(None, 8, 1_048_576)
    """Longest sequence in tokens."""
    rope_theta: float | None = number(None, 0, above=True)
    """Base of the rotary frequencies."""
    qk_norm: bool | None = free(None)
    """Whether queries and keys are normalised per head."""
    tie_embeddings: bool | None = free(None)
    """Whether input and output embeddings are one matrix."""
    initial: str = free()
    """Continue from this model: its name, or by hand its folder."""


@dataclass(frozen=True)
class AdapterSpec:
    """A difference of low rank that is learned in place of a whole model."""

    rank: int | None = whole(None, 1, 65_536)
    """Rank of each matrix's difference; none means that the whole model is learned."""
    alpha: float | None = number(None, 0, above=True)
    """Differences count alpha / rank times; none means twice the rank."""
    targets: str = choice("all", "attention", "feed_forward")
    """The matrices that get one."""


@dataclass(frozen=True)
class Tokenizer:
    """How text becomes tokens."""

    kind: str = choice("bpe", "byte", "character")
    """What a token is."""
    vocab_size: int | None = whole(None, 300, 1_000_000)
    """Entries with special tokens, for bpe; none means 4,096."""


@dataclass(frozen=True)
class DataSpec:
    """What to learn from."""

    dataset: str = free()
    """Name of a dataset or of one of its versions; by hand it may be left out."""
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    """The tokenizer to make; a model to continue from brings its own."""
    sampling: str = choice("packed", "random")
    """packed: every token once an epoch; random: windows from anywhere."""


@dataclass(frozen=True)
class OptimizerSpec:
    """How weights move."""

    kind: str = choice("muon", "adamw")
    """muon: hidden matrices by Muon, the rest by AdamW."""
    learning_rate: float = number(0.003, 0, above=True)
    """Peak of AdamW."""
    matrix_learning_rate: float = number(0.02, 0, above=True)
    """Peak of Muon."""
    weight_decay: float = number(0.1, 0, 1)
    """Decoupled, of matrices."""
    beta1: float = number(0.9, 0, 1, below=True)
    """First moment of AdamW."""
    beta2: float = number(0.95, 0, 1, below=True)
    """Second moment of AdamW."""
    gradient_clip: float = number(1.0, 0)
    """Largest norm of the whole gradient; 0 turns clipping off."""


@dataclass(frozen=True)
class ScheduleSpec:
    """How the learning rate goes."""

    kind: str = choice("wsd", "cosine", "constant")
    """wsd: warm-up, stable, linear decay."""
    warmup_steps: int | None = whole(None, 0)
    """Steps of linear warm-up; none means 2 % of all."""
    decay_fraction: float = number(0.4, 0, 1)
    """Part of all steps that decays, for wsd."""
    final_fraction: float = number(0.0, 0, 1)
    """Learning rate at the end over the peak."""


@dataclass(frozen=True)
class RunSpec:
    """How long and how the run goes."""

    steps: int = whole(1000, 1)
    """Optimizer steps."""
    batch_size: int = whole(16, 1)
    """Sequences or pictures in a micro-batch on one process."""
    accumulation: int = whole(1, 1)
    """Micro-batches summed up before a step."""
    seed: int = whole(0, 0, 2**32 - 1)
    """Seed of weights and data order."""
    precision: str = choice("auto", "bf16", "fp32")
    """bf16: autocast, weights stay in float32; auto: bf16 where the processor multiplies it."""
    compile: bool = free(False)
    """Whether torch.compile is used."""
    ema_decay: float = number(0.0, 0, 1, below=True)
    """Decay of the moving average of weights; 0 keeps none."""
    evaluate_every: int | None = whole(None, 1)
    """Steps between validations; none means a tenth of all."""
    evaluate_batches: int = whole(20, 1)
    """Validation batches each time."""
    checkpoint_every: int | None = whole(None, 1)
    """Steps between checkpoints; none means a tenth of all."""
    log_every: int = whole(10, 1)
    """Steps between lines of the log."""
    activation_checkpointing: bool = free(False)
    """Whether activations are computed again in the backward pass."""


@dataclass(frozen=True)
class ImageSpec:
    """What pictures look like and are asked for by; task "text" has none."""

    image_height: int = whole(32, 1, 4096)
    """Pixels; a multiple of patch_size."""
    image_width: int = whole(32, 1, 4096)
    """Pixels; a multiple of patch_size."""
    channels: int = choice(3, 1, 4)
    """1 grey, 3 RGB, 4 RGBA."""
    fit: str = choice("crop", "pad", "stretch")
    """What happens to pictures of another shape."""
    patch_size: int = whole(4, 1, 256)
    """Pixels along an edge of a patch, for tasks image and dual."""
    condition: str = choice("class", "text", "none")
    """What pictures are asked for by, for task image."""
    context_length: int | None = whole(None, 1, 4096)
    """Most tokens of a caption, or tokens of each class; none means 64, or 4 for classes."""
    pool_condition: bool | None = free(None)
    """Whether the mean of the condition is also added to the time; none means yes."""
    adaln: bool | None = free(None)
    """Whether time also modulates every layer; none means from 12 layers up."""
    flip: bool = free(False)
    """Whether every other picture is mirrored left to right while learning."""
    sampling_steps: int = whole(25, 1, 1000)
    """Steps of the sampler in the run's grids, and where the model is asked for nothing else."""
    guidance: float = number(2.0, 0, 100)
    """How much the condition is exaggerated there; 1 takes it as it is."""
    embedding_width: int = whole(64, 1, 4096)
    """Width of the space that pictures and captions meet in, for task dual."""


@dataclass(frozen=True)
class FusionSpec:
    """How two trained models become one."""

    kind: str = choice("cross_attention", "alloy", "mot", "dense", "low_rank", "prefix")
    """The technique."""
    text: str = free()
    """The language model: its name, or by hand its folder."""
    image: str = free()
    """The image generator: its name, or by hand its folder."""
    ramp_steps: int | None = whole(None, 0)
    """Steps over which alloy, prefix and cross_attention open; none means a tenth of all."""
    text_rate: float = number(1.0, 0)
    """Learning rate of the text tower over the recipe's; 0 freezes it."""
    image_rate: float = number(1.0, 0)
    """Learning rate of the image tower over the recipe's; 0 freezes it."""
    joint_rate: float = number(1.0, 0)
    """Learning rate over the recipe's of what is of neither tower; mot and dense have nothing such."""
    flow_weight: float = number(3.0, 0)
    """Weight of the loss of pictures beside that of text."""
    rank: int | None = whole(None, 1, 65_536)
    """Rank of what towers have of their own, for low_rank; none means 16."""


@dataclass(frozen=True)
class MixtureSource:
    """Data of a mixture."""

    name: str = free()
    """What the tasks call it."""
    dataset: str = free()
    """Name of a dataset or of one of its versions; by hand its folder."""


@dataclass(frozen=True)
class MixtureTask:
    """Something that is learned from a source."""

    kind: str = choice(
        "language-modelling", "image-modelling", "captioning", "vqa", "text-to-image", "interleaved"
    )
    """What."""
    source: str = free()
    """Name of the source."""
    weight: float | None = number(None, 0, above=True)
    """Its part of the mixture; given by all tasks or by none, which means by size and temperature."""
    style: str = choice("", "document", "chat")
    """How its samples are spelled: one text, or turns of a user and an assistant; empty means chat for vqa
    and document for the others."""
    window: int | None = whole(None, 2, 1_048_576)
    """Most tokens of a piece of a long text, for language-modelling; none means text_slots."""


@dataclass(frozen=True)
class MixtureSpec:
    """What a fused model learns from."""

    sources: tuple[MixtureSource, ...] = each(MixtureSource)
    """The data."""
    tasks: tuple[MixtureTask, ...] = each(MixtureTask)
    """What is learned from them."""
    temperature: float = number(1.0, 0, above=True)
    """Weights that are not given go with the size of a source to the power of 1 over it."""
    text_slots: int = whole(128, 16, 1_048_576)
    """Text tokens in a row of a batch."""
    picture_slots: int = whole(2, 1, 1024)
    """Pictures in a row of a batch."""
    samples_per_conversation: int = whole(1, 1, 64)
    """Samples in chat style that are told one after the other, in conversations of 1 to so many; questions
    on one picture become turns that show it once."""


@dataclass(frozen=True)
class Recipe:
    """One run from first to last."""

    name: str = free()
    """The model's id."""
    description: str = free()
    """A sentence for people."""
    model: ModelSpec = field(default_factory=ModelSpec)
    """The network."""
    data: DataSpec = field(default_factory=DataSpec)
    """The data."""
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    """The optimizer."""
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    """The schedule."""
    run: RunSpec = field(default_factory=RunSpec)
    """The run."""
    task: str = choice("text", "image", "dual", "classifier", "fusion", "int8")
    """What is learned: the next token, pictures from noise, which caption belongs, the class, or to read
    and draw; int8 learns nothing, and writes model.initial with 8 bits a weight."""
    image: ImageSpec = field(default_factory=ImageSpec)
    """The pictures."""
    fusion: FusionSpec = field(default_factory=FusionSpec)
    """What becomes one, for task fusion."""
    mixture: MixtureSpec = field(default_factory=MixtureSpec)
    """What it learns from, for task fusion."""
    adapter: AdapterSpec = field(default_factory=AdapterSpec)
    """The adapter to learn over model.initial, for task text."""

    @property
    def base(self) -> str:
        """What an adapter is loaded over; empty for a recipe of a whole model."""
        return self.model.initial if self.adapter.rank is not None else ""

    @property
    def datasets(self) -> tuple[str, ...]:
        """All it learns from, each once."""
        if self.task == "int8":
            return ()
        if self.task != "fusion":
            return (self.data.dataset,)
        return tuple(dict.fromkeys(source.dataset for source in self.mixture.sources))
