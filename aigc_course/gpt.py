r"""GPT: a Transformer that predicts the next token: its attention, its blocks, its training, its generation.

It reads from the tokens up: positions, attention with its cache, the block, the model, the training, generation, the
course's pre-trained model. The weights of GPT-2 are read in `gpt2_weights`, adapters are in `lora`. Shapes: batch ×
time × width, or for attention batch × heads × time × head_dim. All losses and logits are natural logarithms (nats).

Sources: Vaswani et al. (2017), https://arxiv.org/abs/1706.03762; Radford et al. (2019), GPT-2; the file's plan follows
Karpathy's nanoGPT, https://github.com/karpathy/nanoGPT.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import lora, training
from aigc_course.checks import check_count, check_not_negative, check_positive, check_tokens
from aigc_course.data import BytePairTokenizer, TextData, load_text
from aigc_course.data.text import text_digest

# --- attention --------------------------------------------------------------------------------------------------------


def rotary_angles(context: int, head_dim: int) -> Float[Tensor, "context half"]:
    r"""Return the angles $m\,\theta_i$ of position $m$, $\theta_i = 10000^{-2i / \text{head\_dim}}$, in radians.

    Source: Su et al. (2021), https://arxiv.org/abs/2104.09864.
    """
    # In single precision whatever the default is: with fewer digits the angles of far positions would be wrong.
    theta = 10_000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    return torch.outer(torch.arange(context, dtype=torch.float32), theta)


def rotate(
    x: Float[Tensor, "*batch time head_dim"], cos: Float[Tensor, "time half"], sin: Float[Tensor, "time half"]
) -> Float[Tensor, "*batch time head_dim"]:
    r"""Turn the pair of numbers (i, i + half) of each vector by its position's i-th angle, given by cosine and sine.

    $$(x_i, x_{i+h}) \mapsto (x_i \cos\alpha - x_{i+h} \sin\alpha,\; x_i \sin\alpha + x_{i+h} \cos\alpha)$$

    The scalar product of a query turned by position $m$ and a key turned by position $n$ depends on $m - n$ only.
    """
    cos, sin = cos.to(x), sin.to(x)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class LayerCache:
    """The keys and values of the tokens that one attention layer has read, so that each is computed once.

    **Attributes:** `length`: tokens read so far; a smaller number makes it forget the last ones. There is room for
    `context`.
    """

    def __init__(self, batch: int, heads: int, context: int, head_dim: int, like: Tensor) -> None:
        self._stored = like.new_empty(2, batch, heads, context, head_dim)
        self.length = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values, (batch, key–value heads, time, head_dim); return all so far."""
        start, self.length = self.length, self.length + k.shape[2]
        self._stored[0, :, :, start : self.length] = k
        self._stored[1, :, :, start : self.length] = v
        return self._stored[0, :, :, : self.length], self._stored[1, :, :, : self.length]


class Attention(nn.Module):
    r"""Causal self-attention with several heads; position t sees the positions 0 … t.

    $$\mathrm{softmax}\Big(\frac{q k^\top}{\sqrt{\text{head\_dim}}} + \text{mask}\Big)\, v$$

    **Arguments:** as of `GPTConfig`. With `normalise_queries` each query and key is divided by its root mean square,
    which bounds the logits of the softmax (Henry et al., 2020, https://arxiv.org/abs/2010.04245, in the form without a
    gain). With fewer `key_value_heads` than heads, several heads share their keys and values.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        bias: bool,
        normalise_queries: bool,
        dropout: float,
        key_value_heads: int | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.key_value_heads = heads, key_value_heads or heads
        self.normalise_queries, self.dropout = normalise_queries, dropout
        self.sizes = [part * width // heads for part in (heads, self.key_value_heads, self.key_value_heads)]
        self.qkv = nn.Linear(width, sum(self.sizes), bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        rotation: tuple[Float[Tensor, "time half"], Float[Tensor, "time half"]] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch time width"]:
        """Return what each position gathers; with a cache, from the positions stored there too.

        `rotation`: the cosines and sines by which `rotate` turns queries and keys.
        """
        batch, time, width = x.shape
        parts = self.qkv(x).split(self.sizes, dim=-1)
        q, k, v = (part.view(batch, time, -1, width // self.heads).transpose(1, 2) for part in parts)
        if self.normalise_queries:
            q, k = F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:])
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        past = 0
        if cache is not None:
            past = cache.length
            k, v = cache.extend(k, v)
        if self.key_value_heads < self.heads:
            k, v = (part.repeat_interleave(self.heads // self.key_value_heads, dim=1) for part in (k, v))
        # A first stretch sees itself, a single token all that is stored; only a later stretch needs a mask of its own.
        mask = (
            torch.ones(time, past + time, dtype=torch.bool, device=x.device).tril(past) if past and time > 1 else None
        )
        dropout = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=past == 0, dropout_p=dropout)
        return self.out(gathered.transpose(1, 2).reshape(batch, time, width))


# --- the model --------------------------------------------------------------------------------------------------------


CHOICES = {
    "positions": ("rotary", "learned"),
    "normalisation": ("rms", "layer"),
    "activation": ("squared_relu", "gelu", "swiglu"),
}


@dataclass(frozen=True)
class GPTConfig:
    r"""All that decides a GPT's architecture, and the learning rate that suits it.

    The defaults are `TODAY`; `GPTConfig(..., **GPT2)` describes the model of GPT-2.

    **Arguments:**

    - `vocab_size`, `context`: different tokens; the longest stretch of tokens the model can read.
    - `layers`, `heads`, `width`: `width` is divisible by `heads`, and by 2 × `heads` for rotary positions.
    - `key_value_heads`: sets of keys and values, a divisor of `heads`, each shared by as many heads as it takes
      (Shazeer, 2019, https://arxiv.org/abs/1911.02150; Ainslie et al., 2023, https://arxiv.org/abs/2305.13245); `None`
      gives each head its own.
    - `dropout`: the chance that a number is left out in training, in [0, 1).
    - `positions`: `"rotary"` turns queries and keys (see `rotate`); `"learned"` adds a vector per position.
    - `normalisation`: `"rms"` (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467) or `"layer"`.
    - `activation`: `"squared_relu"`, `"gelu"` or `"swiglu"`, of which the last takes two inputs for an output, in a
      hidden layer so much narrower that the number of weights stays the same.
    - `normalise_queries`: see `Attention`.
    - `bias`: whether linear layers and layer normalisation add a constant.
    - `tied`: whether the last layer shares the weights of the embedding (Press and Wolf, 2017,
      https://arxiv.org/abs/1608.05859).
    - `embedding_std`: the standard deviation of the embedding's first weights.
    - `zero_output`: let the layers that write to the residual stream begin at 0, so that at first every block hands its
      input on; and the last layer too, unless it is tied, so that at first every token is equally likely.
    - `learning_rate`: the peak that `NextTokenTraining` takes unless it is told another.

    Raises `ValueError` for arguments outside these ranges.
    """

    vocab_size: int
    context: int
    _: KW_ONLY
    layers: int = 4
    heads: int = 4
    width: int = 128
    key_value_heads: int | None = None
    dropout: float = 0.0
    positions: str = "rotary"
    normalisation: str = "rms"
    activation: str = "squared_relu"
    normalise_queries: bool = True
    bias: bool = False
    tied: bool = True
    embedding_std: float = 0.02
    zero_output: bool = False
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context", "layers", "heads", "width"):
            check_count(name, getattr(self, name))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it takes {' or '.join(map(repr, choices))}.")
        part = self.heads * (2 if self.positions == "rotary" else 1)
        if self.width % part:
            rotary = ", twice because rotary positions turn pairs of numbers" if self.positions == "rotary" else ""
            raise ValueError(
                f"width is {self.width}, which {self.heads} heads cannot share; it takes a multiple of {part}{rotary}."
            )
        if self.key_value_heads is not None:
            check_count("key_value_heads", self.key_value_heads)
            if self.heads % self.key_value_heads:
                raise ValueError(
                    f"key_value_heads is {self.key_value_heads}; it takes a divisor of the {self.heads} heads."
                )
        check_positive("learning_rate", self.learning_rate)
        check_positive("embedding_std", self.embedding_std)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it takes a number in [0, 1).")


GPT2: dict[str, Any] = {  # the choices of GPT-2
    "positions": "learned",
    "normalisation": "layer",
    "activation": "gelu",
    "normalise_queries": False,
    "bias": True,
    "tied": True,
    "embedding_std": 0.02,
    "zero_output": False,
    "learning_rate": 1e-3,
}
# The best of the course's ablation (benchmarks/language.py), and the defaults of a GPTConfig.
TODAY: dict[str, Any] = {name: GPTConfig.__dataclass_fields__[name].default for name in GPT2}


class SquaredReLU(nn.Module):
    r"""$\max(0, x)^2$, applied to each number. Source: So et al. (2021), https://arxiv.org/abs/2109.08668."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the squares of the positive parts."""
        positive = F.relu(x)
        return positive * positive  # its gradient is cheaper than that of a power


class SwiGLU(nn.Module):
    r"""$\mathrm{silu}(a) \cdot b$ of the two halves $a, b$ of each vector, so that $a$ is a gate for $b$.

    Source: Shazeer (2020), https://arxiv.org/abs/2002.05202.
    """

    def forward(self, x: Float[Tensor, "... twice"]) -> Float[Tensor, "... once"]:
        """Return half as many numbers as went in."""
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate) * value


class Block(nn.Module):
    """Attention, then a network for each position by itself; each adds to the residual stream what it finds."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, bias = config.width, config.bias
        self.norm_1, self.norm_2 = _norm(config), _norm(config)
        self.attention = Attention(
            width,
            config.heads,
            bias=bias,
            normalise_queries=config.normalise_queries,
            dropout=config.dropout,
            key_value_heads=config.key_value_heads,
        )
        # A gated layer has three matrices where the others have two: 3 x 8/3 = 2 x 4.
        gated = config.activation == "swiglu"
        hidden = round(8 * width / 3) if gated else 4 * width
        activations = {"squared_relu": SquaredReLU(), "gelu": nn.GELU(approximate="tanh"), "swiglu": SwiGLU()}
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * hidden if gated else hidden, bias=bias),
            activations[config.activation],
            nn.Linear(hidden, width, bias=bias),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        rotation: tuple[Tensor, Tensor] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch time width"]:
        """Return the residual stream after this block."""
        x = x + self.dropout(self.attention(self.norm_1(x), rotation, cache))
        return x + self.dropout(self.mlp(self.norm_2(x)))


def _norm(config: GPTConfig) -> nn.Module:
    return nn.RMSNorm(config.width) if config.normalisation == "rms" else nn.LayerNorm(config.width, bias=config.bias)


class GPT(nn.Module):
    """A decoder-only Transformer: tokens in, the logits of the token after each position out.

    **Arguments:** `config`: a `GPTConfig`, or its fields as a dictionary, as checkpoints hold them.

    **Attributes:** `config`; `adapters`: the arguments of `lora.add_adapters`, while there are any.
    """

    def __init__(self, config: GPTConfig | dict[str, Any]) -> None:
        super().__init__()
        self.config = config = config if isinstance(config, GPTConfig) else GPTConfig(**config)
        self.arguments: dict[str, Any] = {"config": asdict(config)}
        self.adapters: dict[str, Any] = {}
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width) if config.positions == "learned" else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = _norm(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.register_buffer("angles", self._angles(), persistent=False)
        self._initialise()
        self.register_load_state_dict_pre_hook(_refuse_other_vocabulary)

    def _angles(self) -> Tensor:
        return rotary_angles(self.config.context, self.config.width // self.config.heads)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move or cast the model; the angles move along and stay in single precision."""
        super()._apply(fn, recurse)
        self.angles = self._angles().to(self.device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                nn.init.normal_(layer.weight, std=0.02)
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.embedding.weight, std=self.config.embedding_std)
        # Every block adds to the stream twice: smaller beginnings keep the sum's size, whatever the depth (GPT-2).
        scale = 0.0 if self.config.zero_output else 0.02 / math.sqrt(2 * len(self.blocks))
        for block in cast(Iterator[Block], iter(self.blocks)):
            for layer in (block.attention.out, cast(nn.Linear, block.mlp[2])):
                nn.init.normal_(layer.weight, std=scale)
        if self.config.tied:
            self.head.weight = self.embedding.weight
        elif self.config.zero_output:
            nn.init.zeros_(self.head.weight)

    def new_cache(self, batch: int) -> list[LayerCache]:
        """Return an empty cache for every layer, for `batch` texts side by side."""
        config, weight = self.config, self.embedding.weight
        shape = (batch, config.key_value_heads or config.heads, config.context, config.width // config.heads)
        return [LayerCache(*shape, like=weight) for _ in range(config.layers)]

    def forward(
        self, tokens: Int[Tensor, "batch time"], cache: list[LayerCache] | None = None
    ) -> Float[Tensor, "batch time vocab"]:
        """Return the logits of the token after each position; with a cache, `tokens` go on from what it holds.

        Raises `ValueError` for no tokens and for more than the context has room for; tokens outside the vocabulary
        are an `IndexError` on a CPU, as in `torch.nn.Embedding`.
        """
        past = 0 if cache is None else cache[0].length
        time = tokens.shape[1]
        if not 1 <= past + time <= self.config.context or time < 1:
            stored = f" after {past} in the cache" if past else ""
            raise ValueError(
                f"tokens holds {time} per row{stored}; the model's context takes 1 to {self.config.context} in all. "
                "Give fewer, or build the model with a longer context."
            )
        x = self.embedding(tokens)
        rotation = None
        if self.positions is None:
            angles = self.angles[past : past + time]
            rotation = angles.cos(), angles.sin()
        else:
            x = x + self.positions.weight[past : past + time]
        x = self.dropout(x)
        for number, block in enumerate(self.blocks):
            x = block(x, rotation, None if cache is None else cache[number])
        return self.head(self.norm(x))

    def loss(self, x: Int[Tensor, "batch time"], y: Int[Tensor, "batch time"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the next tokens `y` given `x`, in nats per token."""
        return F.cross_entropy(self(x).flatten(0, 1), y.flatten())

    @torch.no_grad()
    def nats_per_token(self, tokens: Int[Tensor, " time"], *, batch_size: int = 64) -> float:
        """Return the mean of -log p over all tokens but the first.

        The text is read in windows of one context that overlap by half; in all but the first only the second half
        counts, so that beyond the first window every token is predicted from at least half a context. (In windows side
        by side a token at the start of one would be predicted from nothing.) Times tokens per character, over log 2, it
        is the bits per character, which do not depend on the tokenizer.

        Raises `ValueError` for fewer than two tokens or tokens outside the vocabulary.
        """
        if tokens.ndim != 1 or len(tokens) < 2:
            raise ValueError(f"tokens has the shape {tuple(tokens.shape)}; it takes a row of at least two.")
        check_tokens(tokens, self.config.vocab_size)
        length = min(self.config.context, len(tokens) - 1)
        step = max(1, length // 2)
        starts = list(range(0, len(tokens) - length, step))
        if starts[-1] + length < len(tokens) - 1:
            starts.append(len(tokens) - 1 - length)
        total, counted = 0.0, 0
        for first in range(0, len(starts), batch_size):
            chosen = starts[first : first + batch_size]
            windows = torch.stack([tokens[start : start + length + 1] for start in chosen])
            x, y = windows[:, :-1], windows[:, 1:]
            with training.evaluating(self):
                losses = F.cross_entropy(self(x).transpose(1, 2), y, reduction="none")
            for start, row in zip(chosen, losses, strict=True):
                fresh = start + length - counted  # the targets 1 … counted have been seen
                total += float(row[length - fresh :].double().sum())
                counted += fresh
        return total / counted


def _refuse_other_vocabulary(model: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    weight = state_dict.get(f"{prefix}embedding.weight")
    vocab_size = cast(GPT, model).config.vocab_size
    if weight is not None and len(weight) != vocab_size:
        raise ValueError(
            f"the checkpoint has a vocabulary of {len(weight)} tokens, the model one of {vocab_size}. "
            "Build the model, and encode the text, with the tokenizer that the checkpoint was trained with."
        )


# --- training ---------------------------------------------------------------------------------------------------------


class NextTokenTraining(training.NetworkModel):
    r"""Teach a GPT to predict the next token; `training.fit` takes it.

    $$\mathcal{L} = -\frac{1}{T} \sum_{t=1}^{T} \log p(x_{t+1} \mid x_1, \dots, x_t),$$

    the mean over positions and batch, in nats per token, is lowered by AdamW. The learning rate rises along a line
    during `warmup` of the training, then falls along a line to 0. Logged once per epoch: `train_loss`, `val_loss`.

    **Arguments:**

    - `model`: a `GPT`; it is trained itself, not a copy.
    - `learning_rate`: at its peak, by default that of the model's configuration.
    - `warmup`: a share of the training, in [0, 1].
    - `weight_decay`: for matrices only; `betas`: of Adam.

    Raises `ValueError` for arguments outside these ranges.
    """

    network_classes = (GPT,)

    def __init__(
        self,
        model: GPT,
        *,
        learning_rate: float | None = None,
        warmup: float = 0.05,
        weight_decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__()
        learning_rate = model.config.learning_rate if learning_rate is None else learning_rate
        check_positive("learning_rate", learning_rate)
        check_not_negative("weight_decay", weight_decay)
        if not 0 <= warmup <= 1:
            raise ValueError(f"warmup is {warmup}; it takes a share of the training, in [0, 1].")
        self.model, self.learning_rate, self.warmup = model, learning_rate, warmup
        self.weight_decay, self.betas = weight_decay, betas
        self.save_hyperparameters(ignore="model")
        self.keep_networks(model=model)

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(x, y)`."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            for tokens in (x, y):
                check_tokens(tokens, self.model.config.vocab_size)
        loss = self.model.loss(x, y)
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss on held-out windows."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        self.log("val_loss", self.model.loss(x, y), batch_size=len(x), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with decay for matrices only, and the rising and falling learning rate."""
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        groups = [
            {"params": [weight for weight in trained if weight.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [weight for weight in trained if weight.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, self.learning_rate, self.betas, fused=True)
        total = training.planned_steps(self)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate(step / total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, done: float) -> float:
        """Return the share of the learning rate that is used when a share `done` of the training is over."""
        if done < self.warmup:
            return (done + 1e-3) / (self.warmup + 1e-3)  # the very first step shall move a little
        return max(0.0, (1 - done) / (1 - self.warmup)) if self.warmup < 1 else 1.0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note in the checkpoint which adapters the model has."""
        checkpoint["adapters"] = self.model.adapters

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the adapters that the checkpoint's model had, so that its weights find their place."""
        if checkpoint.get("adapters") and not self.model.adapters:
            lora.add_adapters(self.model, **checkpoint["adapters"])


# --- generation -------------------------------------------------------------------------------------------------------


def next_token_probabilities(
    logits: Float[Tensor, "batch vocab"],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "batch vocab"]:
    r"""Return the probabilities from which the next token is drawn: $\mathrm{softmax}(\text{logits} / \tau)$, then cut.

    **Arguments:**

    - `temperature`: $\tau$ above 0; below 1 sharpens, above 1 flattens.
    - `top_k`: keep the k most likely tokens (more where several are equally likely), at least 1; `None` keeps all.
    - `top_p`: of these keep the smallest set of most likely tokens whose probabilities sum to at least p, in (0, 1];
      `None` or 1 keeps all. Source: Holtzman et al. (2020), https://arxiv.org/abs/1904.09751.

    What is kept is scaled to sum to 1. Raises `ValueError` for arguments outside these ranges.
    """
    check_positive("temperature", temperature)
    if top_k is not None:
        check_count("top_k", top_k)
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; it takes a number in (0, 1].")
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    probabilities = logits.softmax(dim=-1)
    # With 1, rounded sums would reach it before the last tokens, and drop those.
    if top_p is not None and top_p < 1:
        ordered, places = probabilities.sort(dim=-1, descending=True, stable=True)
        # A token stays if those before it have not reached p: so the first always stays.
        dropped = ordered.cumsum(dim=-1) - ordered >= top_p
        probabilities = torch.zeros_like(ordered).scatter(-1, places, ordered.masked_fill(dropped, 0.0))
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities


def stream(
    model: GPT,
    prompt: Int[Tensor, "batch time"],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    greedy: bool = False,
    cache: bool = True,
) -> Generator[Int[Tensor, " batch"]]:
    """Return an endless generator of the tokens that follow `prompt`, one per row at a time.

    `greedy` takes the most likely token; otherwise tokens are drawn from `next_token_probabilities` by PyTorch's
    global generator. With `cache` a token is read once; without, all are read again for each new one: the same tokens,
    more slowly. When the context is full, its older half is forgotten and the rest read afresh.

    Raises `ValueError` for an empty prompt, one that is longer than the context, tokens outside the vocabulary, and as
    `next_token_probabilities` does, at the call.
    """
    config = model.config
    if prompt.ndim != 2 or prompt.shape[0] < 1 or not 1 <= prompt.shape[1] <= config.context:
        raise ValueError(
            f"prompt has the shape {tuple(prompt.shape)}; it takes (batch, time) with 1 to {config.context} tokens, "
            "the model's context. Shorten the prompt, or build the model with a longer context."
        )
    check_tokens(prompt, config.vocab_size)
    choice: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    next_token_probabilities(torch.zeros(1, config.vocab_size), **choice)  # a wrong argument is said now, not later
    return _tokens(model, prompt, cache, None if greedy else choice)


@torch.no_grad()
def _tokens(model: GPT, window: Tensor, cached: bool, choice: dict[str, Any] | None) -> Generator[Tensor]:
    context, new = model.config.context, window
    cache = model.new_cache(len(window)) if cached else []
    while True:
        # For one step only: whoever stops asking for tokens finds the model in the mode that it was in.
        with training.evaluating(model):
            logits = model(new, cache)[:, -1] if cached else model(window)[:, -1]
        if choice is None:
            token = logits.argmax(dim=-1)
        else:
            token = torch.multinomial(next_token_probabilities(logits, **choice), 1).squeeze(1)
        yield token
        new = token[:, None]
        if window.shape[1] == context:
            window = window[:, (context + 1) // 2 :]
            for layer in cache:
                layer.length = 0
            new = torch.cat([window, new], dim=1)
        window = torch.cat([window, token[:, None]], dim=1)


def generate(model: GPT, prompt: Int[Tensor, "batch time"], count: int, **choice: Any) -> Int[Tensor, "batch longer"]:
    """Return `prompt` and `count` tokens after it; `choice` takes the arguments of `stream`.

    Raises `ValueError` for a `count` below 1, and as `stream` does.
    """
    check_count("count", count)
    following = stream(model, prompt, **choice)
    return torch.cat([prompt, torch.stack([next(following) for _ in range(count)], dim=1)], dim=1)


# --- the course's GPT -------------------------------------------------------------------------------------------------


def recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the GPT of the chapters, as plain values: `data`, `model` and `fit` settings.

    It reads Python's documentation. Raises `ValueError` for an unknown profile.
    """
    scale = {"smoke": 0, "cpu": 1, "gpu": 2}[training.resolve_profile(profile)]
    context, vocab_size = (64, 128, 256)[scale], (300, 1024, 1024)[scale]
    return {
        "data": {
            "name": "python_docs",
            "context": context,
            "batch_size": 16,
            "tokenizer": vocab_size,
            "limit": 20_000 if scale == 0 else None,
        },
        "model": {
            "vocab_size": vocab_size,
            "context": context,
            "layers": (1, 4, 6)[scale],
            "heads": (2, 4, 6)[scale],
            "width": (16, 128, 384)[scale],
            "dropout": (0.0, 0.1, 0.2)[scale],
            "zero_output": True,  # no worse on this text (benchmarks/language.py, beginnings)
        },
        "fit": {"max_epochs": (1, 14, 14)[scale], "seed": 0, "gradient_clip_val": 1.0},
    }


def build(**config: Any) -> NextTokenTraining:
    """Return the training of a new GPT, from the fields of a `GPTConfig`."""
    return NextTokenTraining(GPT(GPTConfig(**config)))


def train(profile: str = "auto") -> tuple[GPT, dict[str, list[float]]]:
    """Train the GPT by its recipe and put it into the cache; return it with its curve."""
    trained, history = training.trained_by(_stored_under(profile), "gpt", build, TextData, retrain=True)
    return cast(NextTokenTraining, trained).model, history


def pretrained(profile: str = "auto") -> tuple[GPT, BytePairTokenizer]:
    """Return the GPT of the recipe, from the cache, else trained first (see `training.trained_by`), and its tokenizer.

    The tokenizer is what `TextData` makes of the recipe: the byte pairs of the training text.
    """
    settings = recipe(profile)["data"]
    trained, _ = training.trained_by(_stored_under(profile), "gpt", build, TextData)
    tokenizer = BytePairTokenizer(load_text(settings["name"]), settings["tokenizer"])
    return cast(NextTokenTraining, trained).model, tokenizer


def _stored_under(profile: str) -> dict[str, Any]:
    """The recipe and its text, which another version of Python has another of: with it the byte pairs change."""
    settings = recipe(profile)
    return {**settings, "text": text_digest(settings["data"]["name"])}
