"""The configuration of a run: frozen options, each field documented with its unit.

The same classes are the YAML schema, the command line's ``--set`` targets and the flows'
parameters (so the Prefect UI draws their form). Nothing here computes; classes further up
receive one of these objects or plain values, never a copy of its fields.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reelvec.configs.addresses import parse_address
from reelvec.configs.corpora import (
    BenchmarkCorpus,
    CorpusConfig,
    FolderCorpus,
    Options,
    SyntheticCorpus,
)
from reelvec.configs.decoding import FileLimits, FrameOptions, SoundForm
from reelvec.configs.presets import merge, read_preset
from reelvec.configs.training import Beta, DistillationConfig, LoraConfig
from reelvec.configs.upkeep import CompactionConfig, GateConfig

__all__ = [
    "STAGES",
    "BenchmarkCorpus",
    "CompactionConfig",
    "CorpusConfig",
    "DistillationConfig",
    "EmbedConfig",
    "EvaluateConfig",
    "ExtractConfig",
    "FolderCorpus",
    "ModelConfig",
    "PipelineConfig",
    "SamplingConfig",
    "SyntheticCorpus",
    "TrainConfig",
]


STAGES = ("ingest", "extract", "audio", "train", "embed", "evaluate", "report")
"""The stages of a pipeline, in order; audio is one of runs whose model hears."""


class SamplingConfig(Options):
    """Which frames of a clip are kept: a rule from counts and times to indices."""

    policy: str = "per_second"
    """Named rule of models.sampling: per_second, uniform, segments, all, or an original's own."""
    rate: float = Field(default=1.0, gt=0)
    """Frames a second (per_second)."""
    count: int = Field(default=12, ge=1)
    """How many frames (uniform, segments)."""
    max_frames: int | None = Field(default=None, ge=1)
    """At most so many; None: no limit."""
    limit: Literal["head", "tail", "linspace", "starts"] = "linspace"
    """How the limit chooses."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the rules that draw frames (adaclip_random, adaclip_subset_random, clip2video_*train)."""


class ExtractConfig(FrameOptions, FileLimits):
    """From video files to frame shards; the limits are those of probing too."""

    sampling: SamplingConfig = SamplingConfig()
    """Which frames are cached; models choose theirs from these."""
    sound: SoundForm = SoundForm()
    """What is kept of sound where the model hears (model.options.hears)."""
    format: Literal["arrow", "hdf5"] = "arrow"
    """Shard format."""
    payload: Literal["raw", "jpeg"] = "raw"
    """raw: uint8; jpeg: q95, about 1/9 of the bytes, lossy (42-44 dB)."""
    shard_videos: int = Field(default=64, ge=1)
    """Videos a shard at most, the unit of retry and parallelism; of few videos they are smaller."""
    max_failed_fraction: float = Field(default=0.5, ge=0, le=1)
    """The run fails when a larger part of the videos is quarantined, or all of them."""
    warn_failed_fraction: float = Field(default=0.05, ge=0, le=1)
    """A larger part of quarantined videos is announced to those who are told (docs/deploy.md)."""


class ModelConfig(Options):
    """Which model, and how it sees its input."""

    family: str = "clip4clip"
    """A family of models.registry (`reelvec presets` shows them in use)."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The family's own options, checked by the family."""
    architecture: str = "tiny"
    """Tower sizes: tiny, ViT-B/32, ViT-B/16, …; ignored where weights bring their own sizes."""
    weights: str | None = None
    """Archive or checkpoint to start from (OpenAI .pt, safetensors, or one of the originals')."""
    policy_weights: str | None = None
    """ImageNet weights of the MobileNet that AdaCLIP's policy looks with: torchvision's file."""
    max_words: int = Field(default=32, ge=3)
    """Tokens of a caption, start and end included."""
    max_frames: int = Field(default=12, ge=1)
    """Frames a video, chosen from the stored ones."""
    frame_selection: Literal["head", "tail", "linspace", "starts"] = "linspace"
    """How they are chosen where more are stored; starts: the first of each equal segment."""
    train_frame_draw: Literal["none", "random", "jitter"] = "none"
    """Frames drawn anew each epoch of training: among all stored ones (AdaCLIP's `--sampling
    random`), or near the selected ones (CLIP2Video's jitter)."""
    train_frame_order: Literal["ordinary", "reverse", "random"] = "ordinary"
    """In what order training sees them; random: anew each epoch."""
    eval_frame_order: Literal["ordinary", "reverse", "random"] = "ordinary"
    """In what order validation and embedding see them; random: each clip's own, always the same."""


class TrainConfig(Options):
    """How the model is trained; epochs 0: not at all."""

    epochs: int = Field(default=5, ge=0)
    """Passes over the training captions; 0 keeps the starting weights."""
    batch_size: int = Field(default=128, ge=1)
    """Pairs of the global batch, over all processes."""
    accumulation: int = Field(default=1, ge=1)
    """Parts in which a batch is encoded (cached embeddings keep all its negatives)."""
    processes: int = Field(default=1, ge=1)
    """Training processes of a machine (one a GPU)."""
    nodes: int = Field(default=1, ge=1)
    """Machines that train together; with runner dask, workers of the cluster."""
    address: str | None = None
    """Where the first node meets the others: HOST:PORT, an address of it; None: the launcher's."""
    hang_minutes: float = Field(default=10.0, ge=0)
    """Minutes without a sign of work after which a process hangs: it is named, and all are started
    again from the last checkpoint; 0: never."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where there is one."""
    precision: Literal["fp32", "bf16", "legacy_fp16"] = "fp32"
    """legacy_fp16: fp16 CLIP weights and moments, as the four originals train."""
    optimizer: Literal["bert_adam", "adamw", "transformers_adamw"] = "bert_adam"
    """bert_adam: as most originals (no bias correction); adamw: the modern choice; or X-Pool's."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak rate of parameters outside clip.*."""
    clip_rate_factor: float = Field(default=1e-3, ge=0)
    """The rate of clip.* is learning_rate times this."""
    weight_decay: float = Field(default=0.2, ge=0)
    """Decoupled weight decay."""
    schedule: str = "warmup_cosine"
    """Learning-rate schedule of models.training.optim."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of all steps."""
    schedule_over: Literal["steps", "pairs"] = "steps"
    """What the schedule ends with: the last step, or (AdaCLIP) all pairs over batch_size."""
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    """Global gradient norm limit; null: none."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """How much of the optimizer's two moments a step keeps."""
    epsilon: float = Field(default=1e-6, ge=0)
    """Keeps the optimizer's division from zero."""
    freeze_layers: int = Field(default=-1, ge=-1)
    """CLIP blocks frozen from the bottom, as the originals count; -1 freezes nothing."""
    freeze: Literal["none", "backbone"] = "none"
    """backbone: the towers stay as they are; what they give is kept once, heads train from it."""
    lora: LoraConfig | None = None
    """Adapters of the towers, whose own weights then stay as they are; null: none."""
    teachers: tuple[str, ...] = ()
    """Runs of this store, or weights files, that teach this model; none: it learns from pairs."""
    distillation: DistillationConfig = DistillationConfig()
    """How teachers are followed."""
    gradient_scaling: Literal["exact", "legacy"] = "exact"
    """legacy: encoder gradients divided by the number of processes, as the originals' gather."""
    negatives: Literal["batch", "process"] = "batch"
    """Whom a pair is compared with: the batch, or its process alone (as released tightTransf)."""
    captions: Literal["all", "one_per_video", "joined"] = "all"
    """all: each caption is an item; one_per_video: one drawn each epoch; joined: paragraphs."""
    selection_split: Literal["val", "test"] = "val"
    """Split on which the best epoch is chosen; test only to reproduce the papers (reported)."""
    evaluate_every: int = Field(default=1, ge=1)
    """Epochs between evaluations on that split; each ends with a checkpoint."""
    stop_after: int | None = Field(default=None, ge=1)
    """Epochs without a better one on that split after which training stops; null: it never does."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between committed checkpoints (also after each evaluation)."""
    keep_last: int = Field(default=2, ge=1)
    """Checkpoints kept beside the best."""
    seed: int = 42
    """The order of samples is a function of (seed, epoch) alone."""
    watch: tuple[str, ...] = ()
    """Who is told of every step and epoch: tensorboard, or functions, package.module:name."""
    when_corpus_grows: Literal["keep", "retrain"] = "keep"
    """keep: a finished model stays as the corpus grows (said on each run); retrain: train anew."""
    compile: bool = False
    """torch.compile the towers."""
    activation_checkpointing: bool = False
    """Recompute block activations in the backward pass."""
    threads: int = Field(default=0, ge=0)
    """CPU threads a process; 0: cores divided by processes."""

    @field_validator("teachers", mode="before")
    @classmethod
    def _one_or_more(cls, teachers: object) -> object:
        """One name stands for a list of it."""
        return (teachers,) if isinstance(teachers, str) else teachers

    @field_validator("address")
    @classmethod
    def _names_one(cls, address: str | None) -> str | None:
        if address is not None:
            parse_address(address)
        return address


class EmbedConfig(Options):
    """From frames and captions to tables."""

    dtype: Literal["float32", "float16"] = "float32"
    """Element type of the embedding columns."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where there is one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products in bfloat16 (autocast), also of the texts that are searched for."""
    compile: bool = False
    """torch.compile each block of the towers; vectors change by rounding alone."""
    batch_size: int = Field(default=16, ge=1)
    """Videos read at once, and encoded at once on a GPU (captions: sixteen times as many)."""
    shard_rows: int = Field(default=512, ge=1)
    """Videos a part; captions eight times as many."""


class EvaluateConfig(Options):
    """Metrics from tables."""

    split: str = "test"
    """Split that is scored."""
    ties: Literal["pessimistic", "optimistic", "mean"] = "mean"
    """Rank among equal scores."""
    rivals: Literal["videos", "captions"] = "videos"
    """Whom a video's best caption is ranked against: other videos' best, or (AdaCLIP) every one."""
    rerank: tuple[str, ...] = ()
    """Re-rankings reported apart: dual_softmax, or sk_norm, which asks the training split."""
    bootstrap: int = Field(default=1000, ge=0)
    """Resamples of the 95 % interval; 0: none."""
    block: int = Field(default=512, ge=1)
    """Texts scored at once."""
    published: dict[str, float] = Field(default_factory=dict)
    """Numbers this preset should reach, e.g. {t2v/R@1: 44.5}; shown beside ours."""
    published_source: str = ""
    """Where they are from."""

    @field_validator("split")
    @classmethod
    def _in_lower_case(cls, split: str) -> str:
        """`Test` is the split `test`, as in a corpus' own files; other names stay as they are."""
        known = split.strip().casefold()
        return known if known in ("train", "val", "test") else split


class PipelineConfig(Options):
    """One run, whole: what `reelvec run` and the flow `pipeline` take."""

    preset: str | None = None
    """Preset this one starts from; every key given beside it wins."""
    name: str = "run"
    """Shown in reports and the Prefect UI."""
    notes: str = ""
    """What a reader of the report should know, e.g. that 23 videos overfit."""
    store: str = "reelvec-store"
    """Root of the store: a local folder, or s3://bucket/prefix."""
    corpus: CorpusConfig = SyntheticCorpus()
    """Which videos and captions."""
    extract: ExtractConfig = ExtractConfig()
    """Frames."""
    model: ModelConfig = ModelConfig()
    """Model."""
    train: TrainConfig = TrainConfig()
    """Training."""
    embed: EmbedConfig = EmbedConfig()
    """Tables."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Metrics."""
    compaction: CompactionConfig = CompactionConfig()
    """Upkeep of the tables as they grow night by night."""
    gate: GateConfig = GateConfig()
    """What new tables must be like before `current` stands for them."""
    max_lost_fraction: float = Field(default=0.1, ge=0, le=1)
    """A publication is refused that loses a larger part of the usable rows (and at least 3)."""
    runner: Literal["threads", "dask"] = "threads"
    """Where shard tasks run: threads of this machine, or a Dask cluster."""
    workers: int = Field(default=0, ge=0)
    """Shards worked on at once; 0: one a core."""
    dask_address: str | None = None
    """Scheduler to use with runner dask; None starts a local cluster."""

    @property
    def hears(self) -> bool:
        """Whether the model is given sound beside frames."""
        return bool(self.model.options.get("hears"))

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, given: Any) -> Any:
        """Merge over the named preset, so that `{preset: demo, store: /data}` is a whole run."""
        if not isinstance(given, dict) or not given.get("preset"):
            return given
        return merge(read_preset(str(given["preset"])), given)
