r"""Language models before the Transformer: n-grams, and a recurrent network that carries a state through the text.

It reads from counting to training: n-grams with Kneser-Ney smoothing, text as parallel streams, the LSTM with truncated
backpropagation through time, the course's trained model. All losses and logits are natural logarithms (nats); divided
by log 2 they are bits.

Sources: Shannon (1948), https://doi.org/10.1002/j.1538-7305.1948.tb01338.x; Chen and Goodman (1999),
https://doi.org/10.1006/csla.1999.0128; Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import training
from aigc_course.checks import check_count, check_positive, check_tokens
from aigc_course.data.text import load_splits, text_digest
from aigc_course.data.tokens import CharTokenizer, Tokenizer, read_tokens

State = tuple[Tensor, Tensor]  # the LSTM's h and c, each (layers, batch, width)


def _check_row(tokens: Tensor, vocab_size: int, least: int) -> None:
    if tokens.ndim != 1 or len(tokens) < least:
        raise ValueError(f"tokens has the shape {tuple(tokens.shape)}; it takes a row of at least {least}.")
    check_tokens(tokens, vocab_size)


# --- counting ---------------------------------------------------------------------------------------------------------


class NGram:
    r"""The probability of a token after the `order` - 1 tokens before it, counted, with Kneser-Ney smoothing.

    Let $h$ be the last $k - 1$ tokens and $c_k(h, w)$ a count of the $k$-gram $hw$. From each count of 1 or more a
    discount $D_k$ is taken, and what is saved goes to the model of one order less:

    $$p_k(w \mid h) = \frac{\max(c_k(h, w) - D_k, 0)}{\sum_v c_k(h, v)}
      + \frac{D_k\,\lvert\{v : c_k(h, v) > 0\}\rvert}{\sum_v c_k(h, v)}\; p_{k-1}(w \mid h'),$$

    where $h'$ is $h$ without its first token and $p_0 = 1 / \text{vocab\_size}$. A context that was never seen hands
    over to $h'$ altogether. For $k$ = `order`, $c_k$ counts how often $hw$ came; below, it counts *after how many
    different tokens* it came, since a lower order is asked only where the higher one has seen little.

    Source: Kneser and Ney (1995), https://doi.org/10.1109/ICASSP.1995.479394, in the interpolated form of Chen and
    Goodman (1999), https://doi.org/10.1006/csla.1999.0128.

    **Arguments:**

    - `vocab_size`: different tokens; `order`: 1 for a unigram, 2 for a bigram, and so on.
    - `discount`: $D_k$ of all orders, in [0, 1); 0 gives the bare relative frequencies. `None` takes, for each order,
      $D_k = (n_1 + 1) / (n_1 + 2 n_2 + 2)$ with the numbers $n_1$, $n_2$ of $k$-grams that were counted once and twice
      (Ney, Essen and Kneser's estimate; + 1 and + 2 keep it between 0 and 1 for the shortest text).

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(self, vocab_size: int, order: int, *, discount: float | None = None) -> None:
        check_count("vocab_size", vocab_size)
        check_count("order", order)
        if discount is not None and not 0 <= discount < 1:
            raise ValueError(f"discount is {discount}; it takes a number in [0, 1), or None.")
        self.vocab_size, self.order, self.discount = vocab_size, order, discount
        # For each k: the k-grams, sorted, as (number of the k-1 tokens in front) × vocab_size + (the last token) …
        self._grams: list[Tensor] = []
        self._counts: list[Tensor] = []  # … and c_k of each
        self._totals: list[Tensor] = []  # the sum of c_k over the followers of each context …
        self._followers: list[Tensor] = []  # … and how many followers it has
        self.discounts: list[float] = []

    def fit(self, tokens: Int[Tensor, " time"]) -> "NGram":
        """Count the text's n-grams, forgetting what was counted before; return the model.

        Raises `ValueError` for a text shorter than `order` and for tokens outside the vocabulary.
        """
        _check_row(tokens, self.vocab_size, self.order)
        self._grams, self._counts, self._totals, self._followers, self.discounts = [], [], [], [], []
        numbers = torch.zeros(len(tokens) + 1, dtype=torch.long)  # of the k-gram that begins at each place; k = 0: one
        contexts = 1
        for k in range(1, self.order + 1):
            codes = numbers[: len(tokens) - k + 1] * self.vocab_size + tokens[k - 1 :]
            grams, numbers, counts = codes.unique(return_inverse=True, return_counts=True)
            if k < self.order:  # in how many different (k + 1)-grams is it the end?
                longer = (tokens[: len(tokens) - k] * len(grams) + numbers[1:]).unique()
                counts = torch.bincount(longer % len(grams), minlength=len(grams))
            ends, seen = grams // self.vocab_size, (counts > 0).long()
            self._grams.append(grams)
            self._counts.append(counts.double())
            self._totals.append(torch.zeros(contexts, dtype=torch.double).index_add(0, ends, counts.double()))
            self._followers.append(torch.zeros(contexts, dtype=torch.double).index_add(0, ends, seen.double()))
            once, twice = int((counts == 1).sum()), int((counts == 2).sum())
            self.discounts.append((once + 1) / (once + 2 * twice + 2) if self.discount is None else self.discount)
            contexts = len(grams)
        return self

    def _probabilities(self, rows: Tensor, followers: Tensor) -> Float[Tensor, "..."]:
        """The probability of each of `followers` (n, m) after its row of `rows` (n, at most order - 1)."""
        if not self._grams:
            raise ValueError("nothing has been counted; call fit(tokens) first.")
        p = torch.full(followers.shape, 1 / self.vocab_size, dtype=torch.double)
        for k in range(1, min(self.order, rows.shape[1] + 1) + 1):
            context, known = torch.zeros(len(rows), dtype=torch.long), torch.ones(len(rows), dtype=torch.bool)
            for place in range(k - 1):  # from its first token on, the number of the context
                codes = context * self.vocab_size + rows[:, rows.shape[1] - k + 1 + place]
                context, found = self._find(place, codes)
                known &= found
            gram, found = self._find(k - 1, context[:, None] * self.vocab_size + followers)
            count = torch.where(found, self._counts[k - 1][gram], 0.0)
            total, kinds = self._totals[k - 1][context], self._followers[k - 1][context]
            known &= total > 0
            discount = self.discounts[k - 1]
            mixed = (count - discount).clamp(min=0) + (discount * kinds)[:, None] * p
            p = torch.where(known[:, None], mixed / total.clamp(min=1)[:, None], p)
        return p

    def _find(self, level: int, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The places of codes among the n-grams of a level (0 for unigrams), and which of them are there at all."""
        grams = self._grams[level]
        places = torch.searchsorted(grams, codes).clamp(max=len(grams) - 1)
        return places, grams[places] == codes

    def log_probabilities(self, context: Int[Tensor, " time"]) -> Float[Tensor, " vocab"]:
        """Return log p of every token after `context`, in nats; -inf for what cannot come. May be empty or long.

        Raises `ValueError` for tokens outside the vocabulary, and if nothing has been counted.
        """
        _check_row(context, self.vocab_size, 0)
        every = torch.arange(self.vocab_size)[None]
        return self._probabilities(context[max(0, len(context) - self.order + 1) :][None], every)[0].log().float()

    def nats_per_token(self, tokens: Int[Tensor, " time"]) -> float:
        """Return the mean of -log p over all tokens but the first, given all before; inf if one could not come.

        Raises `ValueError` for fewer than two tokens, for tokens outside the vocabulary, and if nothing was counted.
        """
        _check_row(tokens, self.vocab_size, 2)
        losses = []
        for length in range(1, min(self.order - 1, len(tokens) - 1)):  # the first tokens have less before them
            losses.append(-self._probabilities(tokens[None, :length], tokens[None, length : length + 1]).log()[:, 0])
        past = min(self.order - 1, len(tokens) - 1)
        first = max(past, 1)
        rows = tokens[first - past :].unfold(0, past, 1)[: len(tokens) - first]
        losses.append(-self._probabilities(rows, tokens[first:, None]).log()[:, 0])
        return float(torch.cat(losses).mean())

    def sample(self, count: int, prompt: Int[Tensor, " time"] | None = None) -> Int[Tensor, " longer"]:
        """Return `prompt`, if there is one, and `count` tokens after it, drawn by PyTorch's global generator.

        Raises `ValueError` for a `count` below 1, for tokens outside the vocabulary, and if nothing has been counted.
        """
        check_count("count", count)
        tokens = torch.empty(0, dtype=torch.long) if prompt is None else prompt
        for _ in range(count):
            tokens = torch.cat([tokens, torch.multinomial(self.log_probabilities(tokens).exp(), 1)])
        return tokens


# --- the text as streams ----------------------------------------------------------------------------------------------


class _Streams:
    """Rows of tokens, read side by side and in order, `chunk` tokens at a time."""

    def __init__(self, rows: Tensor, chunk: int) -> None:
        self.rows, self.chunk = rows, chunk

    def __len__(self) -> int:
        return (self.rows.shape[1] - 1) // self.chunk

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(len(self)):
            window = self.rows[:, number * self.chunk : (number + 1) * self.chunk + 1]
            yield window[:, :-1], window[:, 1:]


class StreamData(pl.LightningDataModule):
    """Batches `(x, y)` of a text read in parallel streams, both (batch, chunk); `y` is `x` moved on by one token.

    A split is cut into `batch_size` pieces of equal length. Row b of a batch goes on, in the b-th piece, where row b of
    the batch before has stopped: so a recurrent model may carry its state along. Nothing is shuffled; less than
    `batch_size` × `chunk` tokens at the end are left out. With several processes each reads pieces of its own.

    **Arguments:**

    - `name`, `encoding`: see `load_text`.
    - `batch_size`: streams; `chunk`: tokens read at a time.
    - `tokenizer`: the tokenizer to use; or the size of a byte-pair vocabulary to learn from the training split; or
      `None` for characters, those of all three splits.

    Once made, it has the attributes `tokenizer` and `tokens`, a dictionary with a row of tokens for each split.

    Raises `ValueError` for numbers below 1, and for a split that has not one chunk for each stream.
    """

    def __init__(
        self,
        name: str | Path = "python_docs",
        *,
        batch_size: int,
        chunk: int,
        tokenizer: Tokenizer | int | None = None,
        encoding: str = "utf-8",
    ) -> None:
        super().__init__()
        check_count("batch_size", batch_size)
        check_count("chunk", chunk)
        self.batch_size, self.chunk = batch_size, chunk
        self.tokenizer, self.tokens = read_tokens(name, tokenizer, encoding=encoding)
        for split in ("train", "validation"):
            self._rows(split, 1)

    def _rows(self, split: str, processes: int) -> Tensor:
        """The pieces of a split, each with one token more than its chunks: the target of the last."""
        tokens, streams = self.tokens[split], self.batch_size * processes
        length = (len(tokens) - 1) // (streams * self.chunk) * self.chunk
        if length == 0:
            raise ValueError(
                f"the {split} split has {len(tokens)} tokens; {streams} streams of chunks of {self.chunk} "
                f"take at least {streams * self.chunk + 1}. Take fewer streams, shorter chunks, or a longer text."
            )
        return tokens[: streams * length + 1].unfold(0, length + 1, length)

    def _loader(self, split: str) -> _Streams:
        processes, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        rows = self._rows(split, processes)[rank * self.batch_size : (rank + 1) * self.batch_size]
        return _Streams(rows, self.chunk)

    def train_dataloader(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The training split, in order."""
        return self._loader("train")

    def val_dataloader(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The validation split, in order."""
        return self._loader("validation")


# --- the recurrent network --------------------------------------------------------------------------------------------


class RecurrentLanguageModel(training.EpochLogger):
    r"""An LSTM that reads a text token by token, and its training by truncated backpropagation through time.

    With the state $s_t = (h_t, c_t)$ of the LSTM after token $x_t$,

    $$s_t = \mathrm{LSTM}(x_t, s_{t-1}), \qquad p(x_{t+1} \mid x_1, \dots, x_t) = \mathrm{softmax}(W h_t + b) .$$

    Training lowers the mean of $-\log p(x_{t+1} \mid x_1, \dots, x_t)$ over chunk and batch, in nats per token, by
    AdamW with a learning rate that falls along half a cosine to 0. The state at the end of a chunk is where the next
    one starts, but gradients end at the border; at the start of an epoch the state is zero. Batches have to come as
    `StreamData` gives them. Logged once an epoch: `train_loss`, `val_loss`. Clip gradients:
    `fit(..., gradient_clip_val=1.0)`.

    **Arguments:**

    - `vocab_size`: different tokens; `width`: numbers in $h$ and in $c$ of each of the `layers`.
    - `dropout`: the chance that a number is left out in training: of the embedding, between layers and before the
      softmax; in [0, 1).
    - `learning_rate`: at the start.

    **Attributes:** `state`: what was carried out of the last training chunk; `None` before the first of an epoch.

    Sources: Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735; Zaremba et al. (2014) for
    dropout, https://arxiv.org/abs/1409.2329.

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        width: int = 256,
        layers: int = 1,
        dropout: float = 0.0,
        learning_rate: float = 4e-3,
    ) -> None:
        super().__init__()
        for name, value in {"vocab_size": vocab_size, "width": width, "layers": layers}.items():
            check_count(name, value)
        check_positive("learning_rate", learning_rate)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it takes a number in [0, 1).")
        self.vocab_size, self.learning_rate = vocab_size, learning_rate
        self.save_hyperparameters()
        self.embedding = nn.Embedding(vocab_size, width)
        # PyTorch warns if there is dropout between layers and only one layer.
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocab_size)
        self.state: State | None = None
        self._val_state: State | None = None

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: State | None = None
    ) -> tuple[Float[Tensor, "batch time vocab"], State]:
        """Return the logits of the token after each position, and the state after the last.

        Without a `state` the model has read nothing yet.
        """
        embedded = self.dropout(self.embedding(tokens))
        # Autocast to bfloat16 would end in an error of oneDNN's on a CPU without AVX-512, which has no such LSTM.
        with torch.autocast("cpu", enabled=False):
            outputs, state = self.lstm(embedded, state)
        return self.head(self.dropout(outputs)), state

    def _loss(self, batch: tuple[Tensor, Tensor], state: State | None) -> tuple[Float[Tensor, ""], State]:
        x, y = batch
        logits, (h, c) = self(x, state)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten()), (h.detach(), c.detach())

    def on_train_epoch_start(self) -> None:
        """Forget the text: the next chunk is its beginning."""
        self.state = None

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a chunk `(x, y)`, read from the state in which the last one ended."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            for tokens in (x, y):
                check_tokens(tokens, self.vocab_size)
        loss, self.state = self._loss((x, y), self.state)
        self.collect(train_loss=loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the text; the training's state is another one and stays."""
        self._val_state = None

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss on a held-out chunk, its state carried as in training."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        loss, self._val_state = self._loss((x, y), self._val_state)
        self.log("val_loss", loss, batch_size=len(x), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW, and the falling learning rate."""
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, (0.9, 0.99), fused=True)
        total = training.planned_steps(self)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def nats_per_token(self, tokens: Int[Tensor, " time"], *, chunk: int = 1024) -> float:
        """Return the mean of -log p over all tokens but the first, each given all before it.

        The text is read as one stream, `chunk` tokens at a time to save memory; the state is carried, so the result
        does not depend on `chunk`.

        Raises `ValueError` for fewer than two tokens, tokens outside the vocabulary, or a `chunk` below 1.
        """
        _check_row(tokens, self.vocab_size, 2)
        check_count("chunk", chunk)
        total, state = 0.0, None
        with training.evaluating(self):
            for x, y in zip(tokens[:-1].split(chunk), tokens[1:].split(chunk), strict=True):
                logits, state = self(x[None], state)
                total += float(F.cross_entropy(logits[0], y, reduction="none").double().sum())
        return total / (len(tokens) - 1)

    @torch.no_grad()
    def generate(
        self, prompt: Int[Tensor, "batch time"], count: int, *, temperature: float = 1.0
    ) -> Int[Tensor, "batch longer"]:
        r"""Return `prompt` and `count` tokens after it, drawn from $\mathrm{softmax}(\text{logits} / \tau)$.

        `temperature` is $\tau$, above 0; below 1 sharpens, above 1 flattens. Each token is read once: the state is all
        that the model needs to go on. Draws by PyTorch's global generator.

        Raises `ValueError` for an empty prompt, tokens outside the vocabulary, a `count` below 1, a temperature ≤ 0.
        """
        if prompt.ndim != 2 or 0 in prompt.shape:
            raise ValueError(f"prompt has the shape {tuple(prompt.shape)}; it takes (batch, time), both at least 1.")
        check_tokens(prompt, self.vocab_size)
        check_count("count", count)
        check_positive("temperature", temperature)
        tokens, state = [prompt], None
        with training.evaluating(self):
            for _ in range(count):
                logits, state = self(tokens[-1], state)
                tokens.append(torch.multinomial((logits[:, -1] / temperature).softmax(dim=-1), 1))
        return torch.cat(tokens, dim=1)


# --- the course's LSTM ------------------------------------------------------------------------------------------------


def recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the chapter's LSTM, as plain values: `data`, `model` and `fit` settings and the seed.

    The text of `python_docs` belongs to it: another version of Python has another one, and maybe other characters.

    Raises `ValueError` for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    return {
        "text": text_digest("python_docs"),
        "data": {"name": "python_docs", "batch_size": 16, "chunk": {"smoke": 256, "cpu": 64, "gpu": 64}[profile]},
        "model": {
            "vocab_size": _characters().vocab_size,
            "width": {"smoke": 48, "cpu": 256, "gpu": 512}[profile],
            "dropout": {"smoke": 0.0, "cpu": 0.25, "gpu": 0.5}[profile],
            "learning_rate": 4e-3,
        },
        "fit": {
            "max_epochs": {"smoke": 1, "cpu": 20, "gpu": 40}[profile],
            "seed": 0,
            "gradient_clip_val": 1.0,
        },
    }


def train(profile: str = "auto") -> tuple[RecurrentLanguageModel, dict[str, list[float]]]:
    """Train the LSTM by its recipe and put it into the cache; return it with its curve (see `training.fit`)."""
    model, history = training.trained_by(recipe(profile), "lstm", RecurrentLanguageModel, StreamData, retrain=True)
    return cast(RecurrentLanguageModel, model), history


def pretrained(profile: str = "auto") -> tuple[RecurrentLanguageModel, Tokenizer]:
    """Return the LSTM of the recipe, from the cache, else trained first; and the tokenizer of its text.

    A changed recipe or text, or a changed version of this module, never meets an old model.
    """
    settings = recipe(profile)
    model = cast(RecurrentLanguageModel, training.trained_by(settings, "lstm", RecurrentLanguageModel, StreamData)[0])
    return model, _characters()


def _characters() -> CharTokenizer:
    """The recipe's tokenizer, which `StreamData` makes of its text too."""
    return CharTokenizer("".join(load_splits("python_docs").values()))
