"""Everything a run can be asked for, as one validated model. This module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model, model_validator

from anyformer.nn.config import Trunk
from anyformer.settings import merge, validated
from anyformer.task import Frozen

Share = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Frozen):
    """Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101."""

    name: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=0.01, ge=0)
    """On tensors of two or more axes; biases, norms and other vectors do not decay."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    epsilon: float = Field(default=1e-8, gt=0)


class SGD(Frozen):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)


class Cosine(Frozen):
    """Warm-up, then half a cosine down to a share of the peak (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"] = "cosine"
    warmup: int = Field(default=100, ge=0)
    """Steps from 0 to the peak."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Share of the peak when the last step is done."""


class Linear(Frozen):
    """Warm-up, then a straight line down to a share of the peak."""

    name: Literal["linear"] = "linear"
    warmup: int = Field(default=100, ge=0)
    final: float = Field(default=0.0, ge=0, le=1)


class Constant(Frozen):
    """Warm-up, then the peak."""

    name: Literal["constant"] = "constant"
    warmup: int = Field(default=0, ge=0)


class InverseSquareRoot(Frozen):
    """Warm-up, then a fall with the square root of the step (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

    name: Literal["inverse_square_root"] = "inverse_square_root"
    warmup: int = Field(default=100, ge=0)


class WarmupStableDecay(Frozen):
    """Warm-up, a plateau at the peak, and a short decay (Hu et al. 2024, https://arxiv.org/abs/2404.06395)."""

    name: Literal["wsd"] = "wsd"
    warmup: int = Field(default=100, ge=0)
    stable: float = Field(default=0.8, ge=0, le=1)
    """Share of the steps after the warm-up that stay at the peak."""
    decay: Literal["linear", "cosine", "square_root"] = "square_root"
    """Shape of the fall; `square_root`: 1 - sqrt(progress) (Hägele et al. 2024, https://arxiv.org/abs/2405.18392)."""
    final: float = Field(default=0.0, ge=0, le=1)


Optimizer = Annotated[AdamW | SGD, Field(discriminator="name")]
Schedule = Annotated[Cosine | Linear | Constant | InverseSquareRoot | WarmupStableDecay, Field(discriminator="name")]


class LoRA(Frozen):
    """Low-rank adapters beside frozen linear layers of the trunk (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    """What an adapter adds is scaled by alpha / rank."""
    dropout: Share = 0.0
    """On what goes into an adapter."""
    targets: tuple[str, ...] = Field(default=("query", "value"), min_length=1)
    """Linear layers of the trunk by the end of their name: `query`, `feed_forward.up`, `cross.key`."""


class Selection(Frozen):
    """Which weights a run gives, and when it stops early, by a score on the held-out part."""

    metric: str | None = None
    """None: the deciding score of the task, or the loss of an objective."""
    patience: int | None = Field(default=None, ge=1)
    """Evaluations in a row without a better score before the run stops; None: it goes on to its last step."""
    keep: Literal["best", "last"] = "best"
    """Weights of the artifact."""


class Parallel(Frozen):
    """How the processes that `torchrun` has started share a run; those beyond shard x tensor hold copies."""

    shard: int = Field(default=1, ge=1)
    """Processes over which weights, gradients and the optimizer's state are split (FSDP2)."""
    tensor: int = Field(default=1, ge=1)
    """Processes over which each layer of the trunk is split (tensor parallelism)."""


class Training(Frozen):
    """How a run learns."""

    steps: int | None = Field(default=None, ge=1)
    """Updates in all; None: as many as `epochs` needs."""
    epochs: float = Field(default=10.0, gt=0)
    """Passes over the records, where `steps` is not given."""
    records: int = Field(default=32, ge=1)
    """Records in a step. It decides what is learned, and is the same on any machine."""
    tokens: int = Field(default=16384, ge=1)
    """Tokens in a micro-pack. It decides how much memory a step takes, and nothing else."""
    optimizer: Optimizer = AdamW()
    schedule: Schedule = Cosine()
    clip: float | None = Field(default=1.0, gt=0)
    """Greatest norm of the gradient; None: not clipped."""
    seed: int = Field(default=0, ge=0)
    """Of the weights, the order, the augmentation and the dropout."""
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    """Learning rate of each block as a share of that of the block above; the head has the whole, the embedding the least."""
    sam: float | None = Field(default=None, gt=0)
    """Radius within which the loss is to stay low, 0.05 for a start: sharpness-aware minimization (Foret et al. 2021), which
    takes two gradients a step; None: one."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a moving average of the weights, which is evaluated and becomes the artifact; None: no average."""
    freeze: tuple[str, ...] = ()
    """Weights that stay as they are, by pattern: `embedding`, `trunk.encoder.blocks.0`, `*.bias`."""
    lora: LoRA | None = None
    """Train adapters and the head alone; None: all weights."""
    selection: Selection | None = None
    """Choose weights by their score on the held-out part; None: the last are taken."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the arithmetic; weights and optimizer stay in fp32. `auto`: bf16 on a GPU that has it, else fp32."""
    checkpoint_activations: bool = False
    """Keep only what goes into each block, and compute the rest again on the way back: less memory, a third more time."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`; `auto`: a GPU if there is one."""
    compile: bool = False
    """Compile the trunk with torch.compile."""
    parallel: Parallel = Parallel()
    """Over several processes."""
    workers: int = Field(default=0, ge=0)
    """Processes that prepare records ahead; 0: this one does. The samples are the same with any number."""
    tensorboard: bool = False
    """Copy metrics.jsonl to RUN/tensorboard as TensorBoard events."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of metrics.jsonl."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations on the held-out part; None: only at the end."""
    save_every: int | None = Field(default=500, ge=1)
    """Steps between checkpoints; None: only at the end."""
    keep: int = Field(default=2, ge=1)
    """Checkpoints kept, the newest."""
    patience: int = Field(default=20, ge=1)
    """Updates in a row that may be skipped for a non-finite gradient before the run stops."""
    bad_records: int = Field(default=0, ge=0)
    """Records that may turn out to be unusable on the way before the run stops; each is left out and counted in the log."""
    log_samples: bool = False
    """Put a hash of all samples so far into each line of the log: two runs that have learned from the same have the same."""

    @model_validator(mode="after")
    def _evaluated(self) -> Training:
        if self.selection is not None and self.evaluate_every is None:
            raise ValueError(
                "training.selection compares evaluations; set training.evaluate_every, for example to 100 steps"
            )
        return self

    def num_steps(self, num_records: int) -> int:
        """Updates in all, for a training part of `num_records`."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * num_records / self.records))


class Settings(Frozen):
    """The part of a run's settings that every task shares; `settings_for` adds the task's own."""

    config: Any = None
    """The task's or the objective's own configuration."""
    tokenizers: Any = None
    """By name: a tokenizer's configuration, and `id` to use another tokenizer than the task's own."""
    trunk: Trunk
    training: Training = Training()


def settings_for(
    config_class: type[BaseModel], tokenizers: Mapping[str, type[BaseModel]], *layers: Mapping[str, Any],
    overrides: Sequence[str] = (),
) -> Settings:  # fmt: skip
    """All layers (defaults first) and `key=value` overrides, merged and validated once.

    Raises `ValueError` for an unknown key or a wrong value, in one line.
    """
    named: dict[str, Any] = {}
    for name, tokenizer in tokenizers.items():
        fields: dict[str, Any] = {"id": (str | None, None)}
        of_one: Any = create_model(tokenizer.__qualname__, __base__=tokenizer, **fields)
        named[name] = (of_one, Field(default_factory=of_one))
    of_all = create_model("Tokenizers", __base__=Frozen, **named)
    own: dict[str, Any] = {
        "config": (config_class, Field(default_factory=config_class)),
        "tokenizers": (of_all, Field(default_factory=of_all)),
    }
    found = validated(create_model("Settings", __base__=Settings, **own), merge(*layers, overrides=overrides))
    assert isinstance(found, Settings)
    return found
