r"""WaveNet: sound one sample at a time, by dilated causal convolutions; and linear prediction, to compare it with.

It reads like the paper: the layer, the network, its generation with and without what has been computed before; then the
older method. All losses and logits are natural logarithms; `bits_per_sample` divides by log 2.

Sources: van den Oord et al. (2016), "WaveNet: A Generative Model for Raw Audio", https://arxiv.org/abs/1609.03499;
Paine et al. (2016), "Fast Wavenet Generation Algorithm", https://arxiv.org/abs/1611.09482.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import training
from aigc_course.checks import check_count, check_not_negative, check_positive, check_tokens
from aigc_course.data.audio import mu_law_decode


class CausalLayer(nn.Module):
    r"""A gated layer that sees now and `dilation` samples ago, with a residual and a skip connection.

    $$h_t = W_0 x_{t-d} + W_1 x_t + V_{c_t} + b, \qquad z = \tanh(h^{\text{filter}}) \odot \sigma(h^{\text{gate}}),
    \qquad x' = x + R z, \qquad s = S z,$$

    where d is the dilation, $c_t$ the condition at time t (absent without conditions), h has a half for the filter and
    one for the gate, and R and S are linear. Before the first sample $x$ is 0. Van den Oord et al. (2016), section 2.
    """

    def __init__(self, channels: int, skip: int, dilation: int, num_conditions: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.condition = nn.Embedding(num_conditions, 2 * channels) if num_conditions else None
        self.residual, self.skip = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, skip, 1)

    def forward(
        self, x: Float[Tensor, "batch channels time"], conditions: Int[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch channels time"], Float[Tensor, "batch skip time"]]:
        """Return the input of the next layer, and what this one adds to the sum of all."""
        return self._gated(self.conv(F.pad(x, (self.dilation, 0))), x, conditions)

    def step(
        self,
        x: Float[Tensor, "batch channels 1"],
        before: Float[Tensor, "batch channels 1"],
        condition: Int[Tensor, "batch 1"] | None,
    ) -> tuple[Float[Tensor, "batch channels 1"], Float[Tensor, "batch skip 1"]]:
        """Do the same for one sample; `before` is the input `dilation` samples ago."""
        h = F.conv1d(torch.cat([before, x], dim=2), self.conv.weight, self.conv.bias)
        return self._gated(h, x, condition)

    def _gated(self, h: Tensor, x: Tensor, conditions: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.condition is not None and conditions is not None:
            h = h + self.condition(conditions).transpose(1, 2)
        filtered, gate = h.chunk(2, dim=1)
        z = filtered.tanh() * gate.sigmoid()
        return x + self.residual(z), self.skip(z)


class WaveNet(training.EpochLogger):
    r"""An autoregressive model of sound: $p(x) = \prod_t p(x_t \mid x_1, \dots, x_{t-1})$ over quantised samples.

    Samples are levels of the μ-law (see `data.audio.mu_law_encode`), and each conditional is a softmax over them, as in
    a language model. The sample before is embedded and goes through causal layers whose dilations grow; the sum of what
    they put out goes through two layers more. Training lowers the mean of $-\log p(x_t)$ by Adam, at a learning rate
    that falls along half a cosine to 0. Logged once an epoch, in nats per sample: `train_loss`, `val_loss`.

    **Arguments:**

    - `levels`: of a sample; `channels`, `skip`: width of the layers, and of the sum of what they put out.
    - `dilations`: one for each layer. The default doubles from 1 to 256, twice.
    - `num_conditions`: how many different conditions there are, such as pitches; 0 for none. A condition is a whole
      number for each sample.
    - `learning_rate`: at the start.

    Source: van den Oord et al. (2016).

    Raises `ValueError` for arguments outside these ranges; the methods, for samples or conditions that are no whole
    numbers in their range, and for conditions that are missing or not wanted.
    """

    def __init__(
        self,
        *,
        levels: int = 256,
        channels: int = 32,
        skip: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256) * 2,
        num_conditions: int = 0,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__()
        check_count("levels", levels, least=2)
        check_count("channels", channels)
        check_count("skip", skip)
        check_count("num_conditions", num_conditions, least=0)
        if not dilations:
            raise ValueError("dilations is empty; it takes at least one.")
        for dilation in dilations:
            check_count("a dilation", dilation)
        check_positive("learning_rate", learning_rate)
        self.levels, self.num_conditions, self.learning_rate = levels, num_conditions, learning_rate
        self.save_hyperparameters()
        self.embedding = nn.Embedding(levels, channels)
        self.layers = nn.ModuleList(CausalLayer(channels, skip, d, num_conditions) for d in dilations)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(skip, skip, 1), nn.ReLU(), nn.Conv1d(skip, levels, 1))

    @property
    def receptive_field(self) -> int:
        """The number of samples before that a conditional sees: one more than the sum of the dilations."""
        return 1 + sum(layer.dilation for layer in self.layers)  # type: ignore[misc]

    def forward(
        self, x: Int[Tensor, "batch time"], conditions: Int[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch levels time"]:
        """Return the logits of the sample after each of `x`; `conditions` are those of the samples to be predicted."""
        self._check(x, conditions)
        h = self.embedding(x).transpose(1, 2)
        total = h.new_zeros(())
        for layer in self.layers:
            h, skip = layer(h, conditions)
            total = total + skip
        return self.head(total)

    def _check(self, x: Tensor, conditions: Tensor | None) -> None:
        if (conditions is None) != (self.num_conditions == 0):
            wanted = f"one below {self.num_conditions} for each sample" if self.num_conditions else "none"
            raise ValueError(
                f"conditions are {'missing' if conditions is None else 'given'}; the model takes {wanted}."
            )
        if conditions is not None and conditions.shape != x.shape:
            raise ValueError(f"conditions has the shape {tuple(conditions.shape)}, the samples {tuple(x.shape)}.")

    def _loss(self, batch: Any) -> Float[Tensor, ""]:
        x, y, *conditions = training.tensors_of(batch, "x", "y", "conditions", least=2)
        return F.cross_entropy(self(x, *conditions), y)

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(x, y)` or `(x, y, conditions)`; `y` is `x` moved on by one sample."""
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            x, y, *conditions = training.tensors_of(batch, "x", "y", "conditions", least=2)
            for samples in (x, y):
                check_tokens(samples, self.levels)
            for condition in conditions:
                check_tokens(condition, self.num_conditions)
        loss = self._loss(batch)
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss on held-out sound."""
        self.log("val_loss", self._loss(batch), batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam, and the falling learning rate."""
        optimizer = torch.optim.Adam(self.parameters(), self.learning_rate, fused=True)
        total = training.planned_steps(self)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def bits_per_sample(
        self,
        samples: Int[Tensor, " time"],
        conditions: Int[Tensor, " time"] | None = None,
        *,
        chunk: int = 16_384,
    ) -> float:
        r"""Return the mean of $-\log_2 p(x_t)$ over all samples but the first, each given all that the model can see.

        The sound is read `chunk` samples at a time, each time with a receptive field before them, so the result does
        not depend on `chunk`.

        Raises `ValueError` for fewer than two samples and a `chunk` below 1.
        """
        if samples.ndim != 1 or len(samples) < 2:
            raise ValueError(f"samples has the shape {tuple(samples.shape)}; it takes a row of at least two.")
        check_tokens(samples, self.levels)
        check_count("chunk", chunk)
        total = 0.0
        with training.evaluating(self):
            for start in range(1, len(samples), chunk):
                end, first = min(start + chunk, len(samples)), max(0, start - self.receptive_field)
                wanted = None if conditions is None else conditions[None, first + 1 : end]
                logits = self(samples[None, first : end - 1], wanted)[:, :, start - 1 - first :]
                total += float(F.cross_entropy(logits, samples[None, start:end], reduction="sum").double())
        return total / (len(samples) - 1) / math.log(2)

    @torch.no_grad()
    def generate(
        self,
        prompt: Int[Tensor, "batch time"],
        count: int,
        conditions: Int[Tensor, "batch longer"] | None = None,
        *,
        temperature: float = 1.0,
        cached: bool = True,
    ) -> Int[Tensor, "batch longer"]:
        r"""Return `prompt` and `count` samples after it, drawn from $\mathrm{softmax}(\text{logits} / \tau)$.

        `temperature` is $\tau$; at 0 the most probable level is taken. With `cached` each layer keeps its inputs of the
        last `dilation` samples, so that a new sample costs one step of each layer; without, the whole receptive field
        is computed again for each. Both draw the same numbers, by PyTorch's global generator.

        **Arguments:** `prompt`: at least one sample; `conditions`: one for each sample of the result.

        Raises `ValueError` for an empty prompt, a count below 1, a temperature below 0, and other shapes.
        """
        if prompt.ndim != 2 or 0 in prompt.shape:
            raise ValueError(f"prompt has the shape {tuple(prompt.shape)}; it takes (batch, time), both at least 1.")
        check_tokens(prompt, self.levels)
        check_count("count", count)
        check_not_negative("temperature", temperature)
        length = prompt.shape[1] + count
        samples = torch.cat([prompt, prompt.new_zeros(len(prompt), count)], dim=1)
        self._check(samples, conditions)
        with training.evaluating(self):
            cache = _Cache(self, len(prompt)) if cached else None
            for t in range(prompt.shape[1] if cache is None else 1, length):
                if cache is None:
                    first = max(0, t - self.receptive_field)
                    wanted = None if conditions is None else conditions[:, first + 1 : t + 1]
                    logits = self(samples[:, first:t], wanted)[:, :, -1]
                else:
                    logits = cache.step(samples[:, t - 1 : t], None if conditions is None else conditions[:, t : t + 1])
                if t >= prompt.shape[1]:
                    samples[:, t] = _chosen(logits, temperature)
        return samples


def _chosen(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return logits.argmax(dim=1)
    return torch.multinomial((logits / temperature).softmax(dim=1), 1)[:, 0]


class _Cache:
    """The inputs of each layer at the last samples, as many as its dilation, in rings."""

    def __init__(self, model: WaveNet, batch: int) -> None:
        self.model, self.time = model, 0
        weight = model.embedding.weight
        self.layers = cast(list[CausalLayer], list(model.layers))
        self.rings = [weight.new_zeros(batch, weight.shape[1], layer.dilation) for layer in self.layers]

    def step(
        self, x: Int[Tensor, "batch 1"], condition: Int[Tensor, "batch 1"] | None
    ) -> Float[Tensor, "batch levels"]:
        """Return the logits of the sample after `x`."""
        h = self.model.embedding(x).transpose(1, 2)
        total = h.new_zeros(())
        for layer, ring in zip(self.layers, self.rings, strict=True):
            place = self.time % ring.shape[2]
            before = ring[:, :, place : place + 1].clone()
            ring[:, :, place : place + 1] = h
            h, skip = layer.step(h, before, condition)
            total = total + skip
        self.time += 1
        return self.model.head(total)[:, :, 0]


# --- linear prediction ------------------------------------------------------------------------------------------------


class LinearPrediction:
    r"""A sample as a weighted sum of the `order` samples before it, plus noise: the method before neural networks.

    $$\hat s_t = \sum_{i=1}^{p} a_i\, s_{t-i}, \qquad
    P(x_t = k) \propto \int_{\text{level } k} \frac{1}{2b} e^{-\lvert s - \hat s_t \rvert / b}\, ds,$$

    where $s$ are the samples in (-1, 1) that the levels $x$ stand for, the weights $a$ are those of least squares on
    the training data, and $b$, the mean size of the error, is that of the training data for each loudness of the
    samples before (in eight classes). Each level gets the probability of the interval of samples that are rounded to
    it; with a share of one in a thousand all levels are equally likely, so that no sample costs without bound.

    Source: Makhoul (1975), https://doi.org/10.1109/PROC.1975.9792.

    **Arguments:** `order`: p, at least 1; `levels`: of a sample.

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(self, order: int, levels: int = 256) -> None:
        check_count("order", order)
        check_count("levels", levels, least=2)
        self.order, self.levels = order, levels
        centres = mu_law_decode(torch.arange(levels), levels).double()
        middle = (centres[1:] + centres[:-1]) / 2
        self.centres = centres
        self.edges = torch.cat([torch.tensor([-math.inf]), middle, torch.tensor([math.inf])])
        self.weights = torch.zeros(0, dtype=torch.double)
        self.borders = self.scales = self.weights

    def _past(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The `order` values before each sample but the first ones, their loudness, and the sample's own value."""
        values = self.centres[samples]
        rows = values.unfold(0, self.order, 1)[:-1].flip(1)
        return rows, rows.square().mean(dim=1).sqrt(), values[self.order :]

    def fit(self, samples: Int[Tensor, " time"]) -> "LinearPrediction":
        """Find the weights and the sizes of the errors; return the model.

        Raises `ValueError` for fewer than twice `order` samples.
        """
        if samples.ndim != 1 or len(samples) < 2 * self.order:
            raise ValueError(
                f"samples has the shape {tuple(samples.shape)}; it takes a row of at least {2 * self.order}."
            )
        check_tokens(samples, self.levels)
        rows, loudness, values = self._past(samples)
        # A little is added to the diagonal, since silence alone would leave the weights undetermined.
        gram = rows.T @ rows + 1e-6 * len(rows) * torch.eye(self.order, dtype=torch.double)
        self.weights = torch.linalg.solve(gram, rows.T @ values)
        errors = (values - rows @ self.weights).abs()
        self.borders = loudness.quantile(torch.arange(1, 8, dtype=torch.double) / 8).unique()
        classes = torch.bucketize(loudness, self.borders)
        count = len(self.borders) + 1
        sums = torch.zeros(count, dtype=torch.double).index_add(0, classes, errors)
        seen = torch.bincount(classes, minlength=count)
        # Not less than a sixteenth of the finest level's width: inside it nothing is known.
        finest = float((self.edges[2:-1] - self.edges[1:-2]).min()) / 16
        self.scales = (sums / seen.clamp(min=1)).clamp(min=finest)
        return self

    def bits_per_sample(self, samples: Int[Tensor, " time"]) -> float:
        """Return the mean of minus the binary logarithm of a sample's probability, over all but the first `order`.

        Raises `ValueError` for a row that is not longer than `order`, and if nothing was fitted.
        """
        if not len(self.weights):
            raise ValueError("nothing has been fitted; call fit(samples) first.")
        if samples.ndim != 1 or len(samples) <= self.order:
            raise ValueError(f"samples has the shape {tuple(samples.shape)}; it takes a row of over {self.order}.")
        check_tokens(samples, self.levels)
        rows, loudness, _ = self._past(samples)
        centre, scale = rows @ self.weights, self.scales[torch.bucketize(loudness, self.borders)]
        own = samples[self.order :]
        laplace = torch.distributions.Laplace(centre, scale, validate_args=False)
        within = laplace.cdf(self.edges[own + 1]) - laplace.cdf(self.edges[own])
        return float(-(0.999 * within + 0.001 / self.levels).log2().mean())
