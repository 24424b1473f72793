r"""GPT: a Transformer that predicts the next token, and what is done with it: pre-training, sampling, fine-tuning.

It reads from the tokens up: positions, attention, the block, the model with its training, generation with a cache, the
weights of GPT-2, adapters, the course's pre-trained model. Shapes: batch × time × width, or for attention batch ×
heads × time × head_dim. All losses and logits are natural logarithms (nats).

Sources: Vaswani et al. (2017), https://arxiv.org/abs/1706.03762; Radford et al. (2019), GPT-2; the file's plan follows
Karpathy's nanoGPT, https://github.com/karpathy/nanoGPT.
"""

import math
from collections.abc import Generator, Iterator
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import training
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
    x: Float[Tensor, "*batch time head_dim"], angles: Float[Tensor, "time half"]
) -> Float[Tensor, "*batch time head_dim"]:
    r"""Turn the pair of numbers (i, i + half) of each vector by its position's i-th angle.

    $$(x_i, x_{i+h}) \mapsto (x_i \cos\alpha - x_{i+h} \sin\alpha,\; x_i \sin\alpha + x_{i+h} \cos\alpha)$$

    The scalar product of a query turned by position $m$ and a key turned by position $n$ depends on $m - n$ only.
    """
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class KeyValueCache:
    """The keys and values of the tokens that a model has read, for every layer, so that each is computed once.

    **Attributes:** `length`: tokens read so far; `context`: tokens it has room for.
    """

    def __init__(self, model: "GPT", batch: int) -> None:
        heads, weight = model.heads, model.embedding.weight
        shape = (len(model.blocks), 2, batch, heads, model.context, model.width // heads)
        self._stored = torch.empty(shape, dtype=weight.dtype, device=weight.device)
        self.context, self.length = model.context, 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values, (batch, heads, time, head_dim); return all of that layer so far."""
        end = self.length + k.shape[2]
        self._stored[layer, 0, :, :, self.length : end] = k
        self._stored[layer, 1, :, :, self.length : end] = v
        return self._stored[layer, 0, :, :, :end], self._stored[layer, 1, :, :, :end]


class Attention(nn.Module):
    r"""Causal self-attention with several heads; position t sees the positions 0 … t.

    $$\mathrm{softmax}\Big(\frac{q k^\top}{\sqrt{\text{head\_dim}}} + \text{mask}\Big)\, v$$

    **Arguments:** as of `GPT`. With `normalise_queries` each query and key is divided by its root mean square, which
    bounds the logits of the softmax (Henry et al., 2020, https://arxiv.org/abs/2010.04245, in the form without a gain).
    """

    def __init__(self, width: int, heads: int, *, bias: bool, normalise_queries: bool, dropout: float) -> None:
        super().__init__()
        self.heads, self.normalise_queries, self.dropout = heads, normalise_queries, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        angles: Float[Tensor, "time half"] | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch time width"]:
        """Return what each position gathers; with a cache, from the positions stored there too."""
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.normalise_queries:
            q, k = F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:])
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        past = 0
        if cache is not None:
            past = cache.length
            k, v = cache.extend(layer, k, v)
        # A first stretch sees itself, a single token all that is stored; only a later stretch needs a mask of its own.
        mask = (
            torch.ones(time, past + time, dtype=torch.bool, device=x.device).tril(past) if past and time > 1 else None
        )
        dropout = self.dropout if self.training else 0.0
        gathered = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=past == 0, dropout_p=dropout)
        return self.out(gathered.transpose(1, 2).reshape(batch, time, width))


# --- the model --------------------------------------------------------------------------------------------------------


class SquaredReLU(nn.Module):
    r"""$\max(0, x)^2$, applied to each number. Source: So et al. (2021), https://arxiv.org/abs/2109.08668."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the squares of the positive parts."""
        positive = F.relu(x)
        return positive * positive  # its gradient is cheaper than that of a power


class Block(nn.Module):
    """Attention, then a network for each position by itself; each adds to the stream what it finds."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        bias: bool,
        normalise_queries: bool,
        dropout: float,
        normalisation: str,
        activation: str,
    ) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = _norm(normalisation, width, bias), _norm(normalisation, width, bias)
        self.attention = Attention(width, heads, bias=bias, normalise_queries=normalise_queries, dropout=dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=bias),
            SquaredReLU() if activation == "squared_relu" else nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width, bias=bias),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch time width"], angles: Tensor | None, cache: KeyValueCache | None, layer: int
    ) -> Float[Tensor, "batch time width"]:
        """Return the stream after this block."""
        x = x + self.dropout(self.attention(self.norm_1(x), angles, cache, layer))
        return x + self.dropout(self.mlp(self.norm_2(x)))


def _norm(kind: str, width: int, bias: bool) -> nn.Module:
    return nn.RMSNorm(width) if kind == "rms" else nn.LayerNorm(width, bias=bias)


CHOICES = {
    "positions": ("rotary", "learned"),
    "normalisation": ("rms", "layer"),
    "activation": ("squared_relu", "gelu"),
}


GPT2: dict[str, Any] = {  # the choices of GPT-2
    "positions": "learned",
    "normalisation": "layer",
    "activation": "gelu",
    "normalise_queries": False,
    "zero_output": False,
    "bias": True,
    "tied": True,
}


class GPT(training.EpochLogger):
    r"""A decoder-only Transformer and its training on next tokens.

    $$\mathcal{L} = -\frac{1}{T} \sum_{t=1}^{T} \log p(x_{t+1} \mid x_1, \dots, x_t),$$

    the mean over positions and batch, in nats a token, is lowered by AdamW. The learning rate rises along a line
    during `warmup` of the training, then falls along a line to 0. Logged once an epoch: `train_loss`, `val_loss`.

    The defaults are today's usage; `GPT(..., **GPT2)` is the model of GPT-2.

    **Arguments:**

    - `vocab_size`, `context`: different tokens; the longest stretch of tokens the model can read.
    - `layers`, `heads`, `width`: `width` is divisible by `heads`, and by 2 × `heads` for rotary positions.
    - `dropout`: the chance that a number is left out in training, in [0, 1).
    - `positions`: `"rotary"` turns queries and keys (see `rotate`); `"learned"` adds a vector a position.
    - `normalisation`: `"rms"` (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467) or `"layer"`.
    - `activation`: `"squared_relu"` or `"gelu"`.
    - `normalise_queries`: see `Attention`.
    - `zero_output`: let the layers that write to the stream, and the last one, begin at 0: at first every block hands
      its input on, and every token is equally likely.
    - `bias`: whether linear layers and layer normalisation add a constant.
    - `tied`: whether the last layer shares the weights of the embedding (Press and Wolf, 2017,
      https://arxiv.org/abs/1608.05859).
    - `learning_rate`: at its peak; `warmup`: a share of the training, in [0, 1].
    - `weight_decay`: for matrices only; `betas`: of Adam.

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(
        self,
        vocab_size: int,
        context: int,
        *,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.0,
        positions: str = "rotary",
        normalisation: str = "rms",
        activation: str = "squared_relu",
        normalise_queries: bool = True,
        zero_output: bool = True,
        bias: bool = False,
        tied: bool = False,
        learning_rate: float = 4e-3,
        warmup: float = 0.05,
        weight_decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__()
        sizes = {"vocab_size": vocab_size, "context": context, "layers": layers, "heads": heads, "width": width}
        for name, value in sizes.items():
            check_count(name, value)
        for name, choice in (("positions", positions), ("normalisation", normalisation), ("activation", activation)):
            if choice not in CHOICES[name]:
                raise ValueError(f"{name} is {choice!r}; it takes {' or '.join(map(repr, CHOICES[name]))}.")
        part = heads * (2 if positions == "rotary" else 1)
        if width % part:
            rotary = ", twice because rotary positions turn pairs of numbers" if positions == "rotary" else ""
            raise ValueError(
                f"width is {width}, which {heads} heads cannot share; it takes a multiple of {part}{rotary}."
            )
        check_positive("learning_rate", learning_rate)
        check_not_negative("weight_decay", weight_decay)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it takes a number in [0, 1).")
        if not 0 <= warmup <= 1:
            raise ValueError(f"warmup is {warmup}; it takes a share of the training, in [0, 1].")
        self.vocab_size, self.context, self.heads, self.width = vocab_size, context, heads, width
        self.learning_rate, self.warmup, self.weight_decay, self.betas = learning_rate, warmup, weight_decay, betas
        self.save_hyperparameters()
        self.adapters: dict[str, Any] = {}  # the arguments of `add_adapters`, while there are any
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(context, width) if positions == "learned" else None
        self.dropout = nn.Dropout(dropout)
        block: dict[str, Any] = {"bias": bias, "normalise_queries": normalise_queries, "dropout": dropout}
        block |= {"normalisation": normalisation, "activation": activation}
        self.blocks = nn.ModuleList(Block(width, heads, **block) for _ in range(layers))
        self.norm = _norm(normalisation, width, bias)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.register_buffer("angles", rotary_angles(context, width // heads), persistent=False)
        self._initialise(zero_output, tied)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move or cast the model; the angles move along and stay in single precision."""
        super()._apply(fn, recurse)
        self.angles = rotary_angles(self.context, self.width // self.heads).to(self.embedding.weight.device)
        return self

    def _initialise(self, zero_output: bool, tied: bool) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                nn.init.normal_(layer.weight, std=0.02)
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        # Every block adds to the stream twice: smaller beginnings keep the sum's size, whatever the depth (GPT-2).
        for block in cast(Iterator[Block], iter(self.blocks)):
            for layer in (block.attention.out, cast(nn.Linear, block.mlp[2])):
                nn.init.normal_(layer.weight, std=0.0 if zero_output else 0.02 / math.sqrt(2 * len(self.blocks)))
        if tied:
            self.head.weight = self.embedding.weight
        else:
            nn.init.normal_(self.embedding.weight)  # a token is to count for more than what untrained blocks add to it
            if zero_output:
                nn.init.zeros_(self.head.weight)

    def forward(
        self, tokens: Int[Tensor, "batch time"], cache: KeyValueCache | None = None
    ) -> Float[Tensor, "batch time vocab"]:
        """Return the logits of the token after each position; with a cache, `tokens` go on from what it holds.

        Raises `ValueError` for tokens outside the vocabulary, for none, and for more than the context has room for.
        """
        past = 0 if cache is None else cache.length
        time = tokens.shape[1]
        if not 1 <= past + time <= self.context or time < 1:
            stored = f" after {past} in the cache" if past else ""
            raise ValueError(
                f"tokens holds {time} a row{stored}; the model's context takes 1 to {self.context} in all. "
                "Give fewer, or build the model with a longer context."
            )
        x = self.embedding(tokens)
        angles = None
        if self.positions is None:
            angles = self.angles[past : past + time]
        else:
            x = x + self.positions.weight[past : past + time]
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, angles, cache, layer)
        if cache is not None:
            cache.length += time
        return self.head(self.norm(x))

    def loss(self, x: Int[Tensor, "batch time"], y: Int[Tensor, "batch time"]) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the next tokens `y` given `x`, in nats a token."""
        return F.cross_entropy(self(x).flatten(0, 1), y.flatten())

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(x, y)`."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            for tokens in (x, y):
                check_tokens(tokens, self.vocab_size)
        loss = self.loss(x, y)
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss on held-out windows."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        self.log("val_loss", self.loss(x, y), batch_size=len(x), sync_dist=True)

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
        checkpoint["adapters"] = self.adapters

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the adapters that the checkpoint's model had, so that its weights find their place."""
        if checkpoint.get("adapters") and not self.adapters:
            add_adapters(self, **checkpoint["adapters"])

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load weights. Raises `ValueError` if they are those of a model with another vocabulary."""
        weight = state_dict.get("embedding.weight")
        if weight is not None and len(weight) != self.vocab_size:
            raise ValueError(
                f"the checkpoint has a vocabulary of {len(weight)} tokens, the model one of {self.vocab_size}. "
                "Build the model, and encode the text, with the tokenizer that the checkpoint was trained with."
            )
        return super().load_state_dict(state_dict, strict, assign)

    # --- generation ---------------------------------------------------------------------------------------------------

    def stream(
        self,
        prompt: Int[Tensor, "batch time"],
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        cache: bool = True,
    ) -> Generator[Int[Tensor, " batch"]]:
        """Return an endless generator of the tokens that follow `prompt`, one a row at a time.

        `greedy` takes the most likely token; otherwise tokens are drawn from `next_token_probabilities` by PyTorch's
        global generator. With `cache` a token is read once; without, all are read again for each new one: the same
        tokens, more slowly. When the context is full, its older half is forgotten and the rest read afresh.

        Raises `ValueError` for an empty prompt, one that is longer than the context, tokens outside the vocabulary, and
        as `next_token_probabilities` does, at the call.
        """
        if prompt.ndim != 2 or prompt.shape[0] < 1 or not 1 <= prompt.shape[1] <= self.context:
            raise ValueError(
                f"prompt has the shape {tuple(prompt.shape)}; it takes (batch, time) with 1 to {self.context} tokens, "
                "the model's context. Shorten the prompt, or build the model with a longer context."
            )
        check_tokens(prompt, self.vocab_size)
        choice: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        next_token_probabilities(torch.zeros(1, self.vocab_size), **choice)  # a wrong argument is said now, not later
        return self._tokens(prompt, cache, None if greedy else choice)

    @torch.no_grad()
    def _tokens(self, window: Tensor, cached: bool, choice: dict[str, Any] | None) -> Generator[Tensor]:
        new, cache = window, KeyValueCache(self, len(window))
        with training.evaluating(self):
            while True:
                logits = self(new, cache)[:, -1] if cached else self(window)[:, -1]
                if choice is None:
                    token = logits.argmax(dim=-1)
                else:
                    token = torch.multinomial(next_token_probabilities(logits, **choice), 1).squeeze(1)
                yield token
                new = token[:, None]
                if window.shape[1] == self.context:
                    window = window[:, (self.context + 1) // 2 :]
                    cache.length, new = 0, torch.cat([window, new], dim=1)
                window = torch.cat([window, token[:, None]], dim=1)

    def generate(self, prompt: Int[Tensor, "batch time"], count: int, **choice: Any) -> Int[Tensor, "batch longer"]:
        """Return `prompt` and `count` tokens after it; `choice` takes the arguments of `stream`.

        Raises `ValueError` for a `count` below 1, and as `stream` does.
        """
        check_count("count", count)
        stream = self.stream(prompt, **choice)
        tokens = [next(stream) for _ in range(count)]
        return torch.cat([prompt, torch.stack(tokens, dim=1)], dim=1)

    @torch.no_grad()
    def nats_per_token(self, tokens: Int[Tensor, " time"], *, batch_size: int = 64) -> float:
        """Return the mean of -log p over all tokens but the first, each given at least half a context before it.

        The text is read in windows that overlap by half; in all but the first only the second half counts. (In
        windows side by side a token at the start of one would be guessed from nothing.) Times tokens a character, over
        log 2, it is the bits per character, which do not depend on the tokenizer.

        Raises `ValueError` for fewer than two tokens or tokens outside the vocabulary.
        """
        if tokens.ndim != 1 or len(tokens) < 2:
            raise ValueError(f"tokens has the shape {tuple(tokens.shape)}; it takes a row of at least two.")
        check_tokens(tokens, self.vocab_size)
        length = min(self.context, len(tokens) - 1)
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
      `None` keeps all. Source: Holtzman et al. (2020), https://arxiv.org/abs/1904.09751.

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
    if top_p is not None:
        ordered, places = probabilities.sort(dim=-1, descending=True, stable=True)
        # A token stays if those before it have not reached p: so the first always stays.
        dropped = ordered.cumsum(dim=-1) - ordered >= top_p
        probabilities = torch.zeros_like(ordered).scatter(-1, places, ordered.masked_fill(dropped, 0.0))
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities


# --- the weights of GPT-2 ---------------------------------------------------------------------------------------------


def from_gpt2(weights: dict[str, Tensor], heads: int) -> GPT:
    """Return a GPT with the published weights of GPT-2, or of a model of its kind from Hugging Face `transformers`.

    **Arguments:**

    - `weights`: what `safetensors.torch.load_file("model.safetensors")` or `GPT2LMHeadModel.state_dict()` returns.
    - `heads`: the weights do not tell; 12, 16, 20 and 25 for GPT-2 from small to XL.

    The sizes are read off the weights; what else the file holds, such as GPT-2's stored masks, is left. Raises
    `ValueError` if a weight is missing or of a wrong shape.
    """
    given = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    needed = {"wte.weight", "wpe.weight"} - given.keys()
    if needed:
        raise ValueError(f"the weights lack {', '.join(sorted(needed))}; they are not those of a GPT-2.")
    (vocab_size, width), context = given["wte.weight"].shape, len(given["wpe.weight"])
    layers = 1 + max((int(name.split(".")[1]) for name in given if name.startswith("h.")), default=-1)
    model = GPT(
        vocab_size,
        context,
        layers=layers,
        heads=heads,
        width=width,
        **GPT2,
    )
    ours = {"embedding": "wte", "positions": "wpe", "norm": "ln_f"}
    for i in range(layers):
        parts = {"norm_1": "ln_1", "attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj", "norm_2": "ln_2"}
        parts |= {"mlp.0": "mlp.c_fc", "mlp.2": "mlp.c_proj"}
        ours |= {f"blocks.{i}.{our}": f"h.{i}.{their}" for our, their in parts.items()}
    state = {}
    for name, target in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        source = "wte.weight" if module == "head" else f"{ours[module]}.{kind}"
        weight = given.get(source)
        # GPT-2's layers multiply from the other side: (inputs, outputs) where torch.nn.Linear has (outputs, inputs).
        if weight is not None and ".c_" in source and kind == "weight":
            weight = weight.T
        if weight is None or weight.shape != target.shape:
            found = "missing" if weight is None else f"of shape {tuple(weight.shape)}"
            raise ValueError(f"the weight {source} is {found}; {tuple(target.shape)} was expected.")
        state[name] = weight
    model.load_state_dict(state)
    return model.eval()


# --- adapters ---------------------------------------------------------------------------------------------------------


class LowRankLinear(nn.Module):
    r"""A frozen linear layer and a low-rank correction that is trained: $y = W x + b + \frac{\alpha}{r} B A x$.

    $A$ has shape (rank, inputs) and begins at random, $B$ has shape (outputs, rank) and begins at 0, so that at first
    nothing changes. Source: Hu et al. (2021), https://arxiv.org/abs/2106.09685.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear, self.scale = linear.requires_grad_(False), alpha / rank
        weight = linear.weight
        down = torch.randn(rank, linear.in_features) / math.sqrt(linear.in_features)
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(weight.new_zeros(linear.out_features, rank))

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Return the frozen layer's output, corrected."""
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.down), self.up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the linear layer with the correction added to its weight: the same function at the old cost."""
        self.linear.weight += self.scale * self.up @ self.down
        return self.linear.requires_grad_(True)


def add_adapters(model: GPT, rank: int, *, alpha: float | None = None) -> GPT:
    """Freeze the model and put a low-rank correction beside every linear layer of its blocks; return the model.

    **Arguments:** `rank`: at least 1; `alpha`: the correction's scale, above 0, by default twice the rank.

    Raises `ValueError` for arguments outside these ranges, and for a model that has adapters already.
    """
    check_count("rank", rank)
    alpha = 2.0 * rank if alpha is None else alpha
    check_positive("alpha", alpha)
    if any(isinstance(module, LowRankLinear) for module in model.modules()):
        raise ValueError("the model has adapters already; merge them first, with merge_adapters.")
    model.requires_grad_(False)
    for parent in list(model.blocks.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, LowRankLinear(child, rank, alpha))
    model.adapters = {"rank": rank, "alpha": alpha}
    return model


def merge_adapters(model: GPT) -> GPT:
    """Add every correction to the layer beside it, take the adapters away, unfreeze the model; return it."""
    for parent in list(model.blocks.modules()):
        for name, child in parent.named_children():
            if isinstance(child, LowRankLinear):
                setattr(parent, name, child.merged())
    model.adapters = {}
    return model.requires_grad_(True)


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
            # With so little text it is better to learn one vector a token than two.
            "tied": True,
            "learning_rate": 2e-3,
        },
        "fit": {"max_epochs": (1, 14, 14)[scale], "seed": 0, "gradient_clip_val": 1.0},
    }


def train(profile: str = "auto") -> tuple[GPT, dict[str, list[float]]]:
    """Train the GPT by its recipe and put it into the cache; return it with its curve."""
    model, history = training.trained_by(_stored_under(profile), "gpt", GPT, TextData, retrain=True)
    return cast(GPT, model), history


def pretrained(profile: str = "auto") -> tuple[GPT, BytePairTokenizer]:
    """Return the GPT of the recipe, from the cache, else trained first (see `training.trained_by`), and its tokenizer.

    The tokenizer is what `TextData` makes of the recipe: the byte pairs of the training text.
    """
    settings = recipe(profile)["data"]
    model, _ = training.trained_by(_stored_under(profile), "gpt", GPT, TextData)
    return cast(GPT, model), BytePairTokenizer(load_text(settings["name"]), settings["tokenizer"])


def _stored_under(profile: str) -> dict[str, Any]:
    """The recipe and its text, which another version of Python has another of: with it the byte pairs change."""
    settings = recipe(profile)
    return {**settings, "text": text_digest(settings["data"]["name"])}
