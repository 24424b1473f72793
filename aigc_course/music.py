r"""Melodies: a recurrent variational autoencoder for phrases, and measures of what models of music write.

It reads from the model to its measures: the network, with its cures against posterior collapse; the recipe by which the
course trains it; what makes notes audible. Tokens are those of `data.tunes`.

Sources: Bowman et al. (2016), "Generating Sentences from a Continuous Space", https://arxiv.org/abs/1511.06349; Roberts
et al. (2018), "A Hierarchical Latent Vector Model for Learning Long-Term Structure in Music",
https://arxiv.org/abs/1803.05428.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import training
from aigc_course.checks import check_count, check_not_negative, check_positive, check_tokens
from aigc_course.data import tunes
from aigc_course.data.tunes import END, IGNORED, TOKEN, VOCABULARY, Note
from aigc_course.vae import ELBO, gaussian_kl, reparameterise


class MelodyVAE(training.EpochLogger):
    r"""A variational autoencoder whose encoder and decoder are recurrent networks: one code for a sequence of tokens.

    Model: $p(z) = \mathcal N(0, I)$ and $p(x \mid z) = \prod_t p(x_t \mid x_0, \dots, x_{t-1}, z)$, where a GRU reads
    the tokens so far, and the code with each of them; the first token $x_0$, the metre, is given. The encoder reads the
    sequence in both directions and gives the mean and the variances of $q(z \mid x)$. Training lowers

    $$-\mathbb E_{q(z \mid x)}[\log p(x \mid z)]
    + \beta_s \max\big(D_{\mathrm{KL}}(q(z \mid x) \,\|\, p(z)), \lambda\big),$$

    in nats per sequence, where the KL term is the batch's mean.

    A decoder that sees the tokens before can do without the code, and then training may end where the KL term is zero:
    posterior collapse. Three cures are arguments: `word_dropout`, `warmup` and `free_nats`.

    Logged once an epoch: `train_loss`, `train_kl`, and, held out and without any cure, `val_loss` (the negative ELBO),
    `val_kl`.

    **Arguments:**

    - `latent_dim`: dimension of the code; `width`: of the GRUs; `embedding`: of a token.
    - `beta`: the weight of the KL term, ≥ 0.
    - `warmup`: the share of the training, in [0, 1], during which the weight rises from 0 to `beta` along a line
      ("KL annealing").
    - `free_nats`: $\lambda$ ≥ 0: a KL term below costs no more than this ("free bits").
    - `word_dropout`: the chance, in [0, 1), that the decoder does not get to see a token before.
    - `learning_rate`: the highest in the schedule, which falls along half a cosine to 0.

    Sources: Bowman et al. (2016) for warmup and word dropout; Kingma et al. (2016), https://arxiv.org/abs/1606.04934,
    for free bits, here for all dimensions together as in Roberts et al. (2018).

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(
        self,
        *,
        latent_dim: int = 48,
        width: int = 256,
        embedding: int = 48,
        beta: float = 1.0,
        warmup: float = 0.0,
        free_nats: float = 0.0,
        word_dropout: float = 0.0,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__()
        for name, count in {"latent_dim": latent_dim, "width": width, "embedding": embedding}.items():
            check_count(name, count)
        check_not_negative("beta", beta)
        check_not_negative("free_nats", free_nats)
        check_positive("learning_rate", learning_rate)
        if not 0 <= warmup <= 1:
            raise ValueError(f"warmup is {warmup}; it takes a share of the training, in [0, 1].")
        if not 0 <= word_dropout < 1:
            raise ValueError(f"word_dropout is {word_dropout}; it takes a chance in [0, 1).")
        self.latent_dim, self.beta, self.warmup, self.free_nats = latent_dim, beta, warmup, free_nats
        self.word_dropout, self.learning_rate = word_dropout, learning_rate
        self.save_hyperparameters()
        vocab_size = len(VOCABULARY)
        self.embedding = nn.Embedding(vocab_size + 1, embedding)  # the last stands for a token that is not shown
        self.encoder = nn.GRU(embedding, width, batch_first=True, bidirectional=True)
        self.to_code = nn.Linear(2 * width, 2 * latent_dim)
        self.to_state = nn.Linear(latent_dim, width)
        self.decoder = nn.GRU(embedding + latent_dim, width, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def encode(
        self, y: Int[Tensor, "batch time"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        r"""Return $\mu$ and $\log \sigma^2$ of $q(z \mid x)$; `y` holds the tokens after the first, then `IGNORED`."""
        lengths = (y != IGNORED).sum(dim=1).cpu()
        if not lengths.all():
            raise ValueError("a sequence has no tokens; each takes one at least.")
        embedded = self.embedding(y.clamp(min=0))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, last = self.encoder(packed)  # (2, batch, width)
        mu, log_var = self.to_code(torch.cat([last[0], last[1]], dim=1)).chunk(2, dim=1)
        return mu, log_var

    def decode(
        self,
        z: Float[Tensor, "batch latent"],
        x: Int[Tensor, "batch time"],
        hidden: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time vocab"]:
        """Return the logits of the token after each of `x`, given the code; where `hidden`, `x` is not shown."""
        if hidden is not None:
            x = x.masked_fill(hidden, len(VOCABULARY))
        codes = z[:, None].expand(-1, x.shape[1], -1)
        inputs = torch.cat([self.embedding(x), codes], dim=2)
        return self.head(self.decoder(inputs, self.to_state(z).tanh()[None])[0])

    def elbo(self, x: Int[Tensor, "batch time"], y: Int[Tensor, "batch time"]) -> ELBO:
        """Return the two terms of the ELBO of each sequence, with one sample of the code; tokens as `tunes.rows`."""
        return self._elbo(x, y, None)

    def _elbo(self, x: Tensor, y: Tensor, hidden: Tensor | None) -> ELBO:
        mu, log_var = self.encode(y)
        logits = self.decode(reparameterise(mu, log_var), x, hidden)
        return ELBO(log_likelihood(logits, y), gaussian_kl(mu, log_var))

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(x, y)`."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            check_tokens(x, len(VOCABULARY))
        hidden = None
        if self.word_dropout:
            hidden = torch.rand(x.shape, device=x.device) < self.word_dropout
            hidden[:, 0] = False  # the metre is given
        reconstruction, kl = self._elbo(x, y, hidden)
        weight = self.beta
        if self.warmup:
            weight *= min(1.0, self.global_step / (self.warmup * training.planned_steps(self)))
        loss = -reconstruction.mean() + weight * kl.mean().clamp(min=self.free_nats)
        self.collect(train_loss=loss, train_kl=kl.mean())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the negative ELBO and its KL term."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        reconstruction, kl = self.elbo(x, y)
        figures = {"val_loss": (kl - reconstruction).mean(), "val_kl": kl.mean()}
        self.log_dict(figures, batch_size=len(x), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam, and the falling learning rate."""
        optimizer = torch.optim.Adam(self.parameters(), self.learning_rate, fused=True)
        total = training.planned_steps(self)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def sample(
        self,
        z: Float[Tensor, "batch latent"],
        metre: str,
        *,
        temperature: float = 0.0,
        longest: int = 64,
    ) -> list[list[int]]:
        r"""Return a sequence of tokens for each code, from the metre to the end or to `longest` tokens.

        Each token is drawn from $\mathrm{softmax}(\text{logits} / \tau)$ with $\tau$ the `temperature`, by PyTorch's
        global generator; at 0 it is the most probable one.

        Raises `ValueError` for a metre that is not in the vocabulary, codes of another dimension, a temperature below 0
        and a length below 1.
        """
        tunes.bar_ticks(metre)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ValueError(f"z has the shape {tuple(z.shape)}; it takes (batch, {self.latent_dim}).")
        check_not_negative("temperature", temperature)
        check_count("longest", longest)
        tokens = torch.full((len(z), 1), TOKEN[f"metre {metre}"], device=z.device)
        state = self.to_state(z).tanh()[None]
        with training.evaluating(self):
            while tokens.shape[1] < longest and not (tokens == TOKEN[END]).any(dim=1).all():
                inputs = torch.cat([self.embedding(tokens[:, -1:]), z[:, None]], dim=2)
                output, state = self.decoder(inputs, state)
                logits = self.head(output[:, 0])
                chosen = (
                    torch.multinomial((logits / temperature).softmax(dim=1), 1)
                    if temperature
                    else logits.argmax(dim=1, keepdim=True)
                )
                tokens = torch.cat([tokens, chosen], dim=1)
        return [row[: row.index(TOKEN[END]) + 1] if TOKEN[END] in row else row for row in tokens.tolist()]


def log_likelihood(logits: Float[Tensor, "batch time vocab"], y: Int[Tensor, "batch time"]) -> Float[Tensor, " batch"]:
    r"""Return $\sum_t \log p(y_t)$ of each row, in nats; targets that are `IGNORED` are left out."""
    losses = F.cross_entropy(logits.transpose(1, 2), y, ignore_index=IGNORED, reduction="none")
    return -losses.sum(dim=1)


# --- measures ---------------------------------------------------------------------------------------------------------


def notes_reconstructed(original: Sequence[Note], copy: Sequence[Note]) -> float:
    """Return the share of the original's notes and rests that the copy has at the same time, pitch and length.

    Raises `ValueError` for an original without notes.
    """
    if not original:
        raise ValueError("the original has no notes.")
    wanted, found = (_with_onsets(notes) for notes in (original, copy))
    return len(wanted & found) / len(wanted)


def _with_onsets(notes: Sequence[Note]) -> set[tuple[int, Note]]:
    onsets, now = set(), 0
    for note in notes:
        onsets.add((now, note))
        now += note.ticks
    return onsets
