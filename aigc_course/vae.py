r"""Variational autoencoders for pictures: plain, β-weighted and conditional.

The module reads like the paper: the three formulas, the networks, the models, the tighter bound, the recipe by which
the course trains its VAE. Source: Kingma and Welling (2013), "Auto-Encoding Variational Bayes",
https://arxiv.org/abs/1312.6114; β: Higgins et al. (2017), https://openreview.net/forum?id=Sy2fzU9gl; labels: Sohn, Lee
and Yan (2015), "Learning Structured Output Representation using Deep Conditional Generative Models".
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import training
from aigc_course.checks import OTHER_SHAPES, check_count, check_not_negative, check_pictures, check_positive
from aigc_course.data import ImageData
from aigc_course.tensors import one_hot

# --- the three formulas -----------------------------------------------------------------------------------------------


def reparameterise(
    mu: Float[Tensor, "..."], log_var: Float[Tensor, "..."], eps: Float[Tensor, "..."] | None = None
) -> Float[Tensor, "..."]:
    r"""Return a sample of $\mathcal N(\mu, \operatorname{diag} \sigma^2)$ that gradients can pass.

    $$z = \mu + \sigma \odot \epsilon, \qquad \epsilon \sim \mathcal N(0, I)$$

    **Arguments:** `mu`, `log_var`: $\mu$ and $\log\sigma^2$ of any one shape; `eps`: the noise $\epsilon$, of a shape
    that fits theirs; drawn if it is not given. Kingma and Welling (2013), section 2.4.
    """
    if eps is None:
        eps = torch.randn_like(mu)
    return mu + (0.5 * log_var).exp() * eps


def gaussian_kl(mu: Float[Tensor, "batch latent"], log_var: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
    r"""Return the divergence of $q = \mathcal N(\mu, \operatorname{diag} \sigma^2)$ from the prior in nats per example.

    $$D_{\mathrm{KL}}\big(q \,\|\, \mathcal N(0, I)\big)
    = \tfrac12 \sum_j \big(\mu_j^2 + \sigma_j^2 - 1 - \log\sigma_j^2\big)$$

    It is summed over the latent axis. Kingma and Welling (2013), appendix B (there with the opposite sign).
    """
    # expm1 keeps the digits that exp(x) - 1 loses where σ² is close to 1.
    return 0.5 * (mu.square() + log_var.expm1() - log_var).sum(dim=1)


def bernoulli_log_likelihood(
    logits: Float[Tensor, "batch ..."], x: Float[Tensor, "batch ..."]
) -> Float[Tensor, " batch"]:
    r"""Return $\log p(x \mid z)$ under independent Bernoulli pixels, in nats per example.

    $$\log p(x \mid z) = \sum_i \big(x_i \log p_i + (1 - x_i) \log(1 - p_i)\big)$$

    with $p_i = \operatorname{sigmoid}(\ell_i)$ of the logits $\ell$. It is summed, not averaged, over the pixels. Grey
    values in [0, 1] serve as soft targets: it is minus the binary cross-entropy, and the average log-probability of
    pixels that are drawn lit or dark with these values. It never exceeds minus the entropy of such pixels. As a density
    of the grey values themselves it is not normalised (Loaiza-Ganem and Cunningham, 2019,
    https://arxiv.org/abs/1907.06845).
    """
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(dim=1)


# --- the networks -----------------------------------------------------------------------------------------------------

PATCH = 4  # pixels; 7 × 7 patches make a picture of 28 × 28


def active(layer: nn.Linear | nn.Conv2d) -> nn.Sequential:
    """The layer and its activation, initialised as in He et al. (2015), https://arxiv.org/abs/1502.01852.

    Under a ReLU it keeps the size of the signal from layer to layer. Under a SiLU the signal shrinks, but by far less
    than with PyTorch's default.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(cast(Tensor, layer.bias))
    return nn.Sequential(layer, nn.SiLU())


class _Encoder(nn.Module):
    """From a picture, and its label as a one-hot vector, to `outputs` numbers.

    Each patch of 4×4 pixels becomes one position with 16 channels (of each colour), so that in a picture of 28×28 the
    convolutions visit 49 positions and not 784, which saves time on a CPU.
    """

    def __init__(self, shape: Sequence[int], channels: int, width: int, outputs: int, num_classes: int = 0) -> None:
        super().__init__()
        colours, rows, columns = shape[0], shape[1] // PATCH, shape[2] // PATCH
        self.features = nn.Sequential(
            nn.PixelUnshuffle(PATCH),  # (batch, 16 * colours, rows, columns)
            active(nn.Conv2d(colours * PATCH**2, channels, 3, padding=1)),
            active(nn.Conv2d(channels, channels, 3, padding=1)),
            nn.Flatten(),  # (batch, channels * rows * columns)
        )
        features = channels * rows * columns
        self.head = nn.Sequential(active(nn.Linear(features + num_classes, width)), nn.Linear(width, outputs))

    def forward(self, x: Float[Tensor, "batch c h w"], classes: Float[Tensor, "batch classes"]) -> Tensor:
        return self.head(torch.cat([self.features(x), classes], dim=1))


class _ByLabel(nn.Module):
    r"""Features turned up, turned down and shifted by amounts that each class learns.

    $h \leftarrow (1 + \gamma_y) h + \delta_y$ for every channel. Perez et al. (2018), https://arxiv.org/abs/1709.07871.
    """

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.amounts = nn.Linear(num_classes, 2 * channels)
        nn.init.normal_(self.amounts.weight, std=0.3)  # so that classes differ from the first step on

    def forward(self, h: Float[Tensor, "batch channels ..."], classes: Float[Tensor, "batch classes"]) -> Tensor:
        gain, shift = self.amounts(classes).view(*h.shape[:2], *[1] * (h.ndim - 2), 2).unbind(-1)
        return (1 + gain) * h + shift


class _Decoder(nn.Module):
    """From a code to one logit per value, the encoder's steps in reverse; a label turns what two layers give."""

    def __init__(self, shape: Sequence[int], channels: int, width: int, latent_dim: int, num_classes: int = 0) -> None:
        super().__init__()
        colours, rows, columns = shape[0], shape[1] // PATCH, shape[2] // PATCH
        small = (channels, rows, columns)
        self.stages = nn.ModuleList(
            [
                active(nn.Linear(latent_dim, width)),
                nn.Sequential(active(nn.Linear(width, math.prod(small))), nn.Unflatten(1, small)),
            ]
        )
        self.by_label = nn.ModuleList([_ByLabel(num_classes, size) for size in (width, channels) if num_classes])
        self.output = nn.Sequential(
            active(nn.Conv2d(channels, channels, 3, padding=1)),
            nn.Conv2d(channels, colours * PATCH**2, 3, padding=1),
            nn.PixelShuffle(PATCH),  # (batch, colours, height, width)
        )

    def forward(
        self, z: Float[Tensor, "batch latent"], classes: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch c h w"]:
        h = z
        for index, stage in enumerate(self.stages):
            h = stage(h)
            if self.by_label:
                h = self.by_label[index](h, classes)
        return self.output(h)


def _check_codes(z: Tensor, latent_dim: int) -> None:
    if z.ndim != 2 or z.shape[1] != latent_dim:
        raise ValueError(f"z has the shape {tuple(z.shape)}; it takes (batch, {latent_dim}).")


class _PictureModel(training.EpochLogger):
    """What the two models below share: the check of pictures and the optimiser."""

    def __init__(self, latent_dim: int, shape: Sequence[int], learning_rate: float, channels: int, width: int) -> None:
        super().__init__()
        check_count("latent_dim", latent_dim)
        check_count("channels", channels)
        check_count("width", width)
        check_positive("learning_rate", learning_rate)
        if len(shape) != 3 or min(shape) < 1 or shape[1] % PATCH or shape[2] % PATCH:
            raise ValueError(
                f"shape is {tuple(shape)}; it takes (channels, height, width) of a picture: at least 1 channel, and "
                f"height and width that are multiples of {PATCH}."
            )
        self.latent_dim, self.shape, self.learning_rate = latent_dim, tuple(shape), learning_rate

    def _check_images(self, x: Tensor) -> None:
        check_pictures(x, self.shape, OTHER_SHAPES)

    def _pictures(self, batch: Any, num_classes: int = 0) -> tuple[Tensor, Tensor | None]:
        """The pictures of a batch and, for a model with classes, their labels."""
        parts = training.tensors_of(batch, "images", "labels", least=2 if num_classes else 1)
        return training.as_floats("images", parts[0], self), parts[1] if num_classes else None

    def configure_optimizers(self) -> Any:
        """Adam; the learning rate climbs for a tenth of the steps and then falls to nothing along a cosine."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        # The schedule divides by the length of its two parts, which must not be 0 however short a trial run is.
        steps = max(2, training.planned_steps(self))
        climb = max(0.1, 1.5 / steps)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, steps, pct_start=climb)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let a continued training keep its own length of the schedule, where the checkpoint's may be shorter."""
        for schedule in checkpoint.get("lr_schedulers", []):
            for name in ("total_steps", "_schedule_phases"):
                schedule.pop(name, None)


# --- the models -------------------------------------------------------------------------------------------------------


class Autoencoder(_PictureModel):
    r"""A plain autoencoder: the VAE's networks without its probability. A code is a point; no loss shapes the codes.

    Its loss is the reconstruction term alone, $-\log p(x \mid z)$ at $z = \operatorname{encode}(x)$ in nats per
    picture, logged as `train_loss` and `val_loss`.

    **Arguments:** `latent_dim`: dimension of the code, at least 1; `shape`: of a picture, as for `VAE`;
    `learning_rate`: the highest in the schedule; `channels`, `width`: of the convolutions and of the hidden layer.

    Raises `ValueError` for a size below 1, a learning rate that is not positive, and shapes and pictures that `VAE`
    would refuse.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        *,
        shape: Sequence[int] = (1, 28, 28),
        learning_rate: float = 5e-3,
        channels: int = 32,
        width: int = 256,
    ) -> None:
        super().__init__(latent_dim, shape, learning_rate, channels, width)
        self.save_hyperparameters()
        self.encoder = _Encoder(shape, channels, width, latent_dim)
        self.decoder = _Decoder(shape, channels, width, latent_dim)

    def encode(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch latent"]:
        """Return the codes of pictures with values in [0, 1]; `ValueError` for another shape or range."""
        self._check_images(x)
        return self.encoder(x, one_hot(None, 0, x))

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch c h w"]:
        """Return the logits of the pixels' values; their sigmoid is the picture."""
        _check_codes(z, self.latent_dim)
        return self.decoder(z, one_hot(None, 0, z))

    def forward(self, x: Tensor) -> Float[Tensor, " batch"]:
        r"""Return $\log p(x \mid z)$ for each picture, without looking at the values."""
        nothing = one_hot(None, 0, x)
        return bernoulli_log_likelihood(self.decoder(self.encoder(x, nothing), nothing), x)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Return the pictures after encoding and decoding, values in [0, 1]."""
        return self.decode(self.encode(x)).sigmoid()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the mean loss of a batch `(images, labels)`, or of images alone."""
        x, _ = self._pictures(batch)
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            self._check_images(x)
        loss = -self(x).mean()
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the mean loss of a batch like those of `training_step`."""
        x, _ = self._pictures(batch)
        self.log("val_loss", -self(x).mean(), batch_size=len(x), sync_dist=True)


class ELBO(NamedTuple):
    """The reconstruction and KL terms of the ELBO, one value per example, in nats: the bound is their difference."""

    log_likelihood: Float[Tensor, " batch"]
    kl: Float[Tensor, " batch"]


class VAE(_PictureModel):
    r"""A variational autoencoder; with `num_classes`, a conditional one.

    Model: $p(z) = \mathcal N(0, I)$ and $p(x \mid z)$ with independent Bernoulli pixels whose logits the decoder gives
    (three per pixel in colour). The encoder gives the approximate posterior $q(z \mid x) = \mathcal N(\mu,
    \operatorname{diag} \sigma^2)$. Training lowers

    $$-\mathbb E_{q(z \mid x)}[\log p(x \mid z)] + \beta \, D_{\mathrm{KL}}\big(q(z \mid x) \,\|\, p(z)\big),$$

    estimated with one sample of $z$ per picture, in nats per picture, averaged over the batch. With classes, encoder
    and decoder get the label too: $q(z \mid x, y)$ and $p(x \mid z, y)$; the prior of $z$ does not depend on it.

    Logged once an epoch: `train_loss` (β-weighted), `train_kl`, and, held out and without β, `val_loss` (the negative
    ELBO), `val_log_likelihood`, `val_kl`.

    **Arguments:**

    - `latent_dim`: dimension of the code, at least 1.
    - `shape`: `(channels, height, width)` of a picture; height and width are multiples of 4.
    - `num_classes`: 0 for an unconditional model.
    - `beta`: weight of the KL term in the training loss, ≥ 0; 1 is the ELBO.
    - `learning_rate`: the highest in the schedule.
    - `channels`, `width`: of the convolutions and of the hidden layer.

    Raises `ValueError` for any of these outside its range; the methods, for pictures of another shape or with values
    outside [0, 1] (NaN too), labels that are missing, out of range or given to an unconditional model.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        *,
        shape: Sequence[int] = (1, 28, 28),
        num_classes: int = 0,
        beta: float = 1.0,
        learning_rate: float = 5e-3,
        channels: int = 32,
        width: int = 256,
    ) -> None:
        super().__init__(latent_dim, shape, learning_rate, channels, width)
        check_count("num_classes", num_classes, least=0)
        check_not_negative("beta", beta)
        self.num_classes, self.beta = num_classes, beta
        self.save_hyperparameters()
        self.encoder = _Encoder(shape, channels, width, 2 * latent_dim, num_classes)
        self.decoder = _Decoder(shape, channels, width, latent_dim, num_classes)

    def encode(
        self, x: Float[Tensor, "batch c h w"], labels: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        r"""Return $\mu$ and $\log\sigma^2$ of $q(z \mid x)$, or $q(z \mid x, y)$ in a conditional model."""
        self._check_images(x)
        self._check_labels(labels, x.shape[0])
        return self._posterior(x, labels)

    def decode(
        self, z: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch c h w"]:
        """Return the logits of the pixels given codes (and labels)."""
        _check_codes(z, self.latent_dim)
        self._check_labels(labels, z.shape[0])
        return self._logits(z, labels)

    def elbo(self, x: Float[Tensor, "batch c h w"], labels: Int[Tensor, " batch"] | None = None) -> ELBO:
        r"""Return the bound's terms for each picture: $\log p(x \mid z)$ at one $z \sim q(z \mid x)$, and the KL term.

        $$\log p(x) \ge \mathbb E_{q(z \mid x)}[\log p(x \mid z)] - D_{\mathrm{KL}}\big(q(z \mid x) \,\|\, p(z)\big)$$
        """
        self._check_images(x)
        self._check_labels(labels, len(x))
        return self(x, labels)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> ELBO:
        """Do what `elbo` does without looking at the values, for which a GPU would have to wait."""
        mu, log_var = self._posterior(x, labels)
        logits = self._logits(reparameterise(mu, log_var), labels)
        return ELBO(bernoulli_log_likelihood(logits, x), gaussian_kl(mu, log_var))

    @torch.no_grad()
    def sample(
        self, n: int, labels: Int[Tensor, " n"] | None = None, temperature: float = 1.0
    ) -> Float[Tensor, "n c h w"]:
        r"""Return n pictures, the pixels' probabilities in [0, 1], from codes $z \sim \mathcal N(0, \tau^2 I)$.

        **Arguments:** `labels`: the n classes asked for, in a conditional model; `temperature`: $\tau$ ≥ 0; 1 is the
        model's own distribution, a lower one gives more typical and less varied pictures.
        """
        check_count("n", n)
        check_not_negative("temperature", temperature)
        z = temperature * torch.randn(n, self.latent_dim, device=self.device, dtype=cast(torch.dtype, self.dtype))
        return self.decode(z, labels).sigmoid()

    @torch.no_grad()
    def reconstruct(
        self, x: Float[Tensor, "batch c h w"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch c h w"]:
        r"""Return the pictures decoded from their posterior means $\mu$, values in [0, 1]."""
        mu, _ = self.encode(x, labels)
        return self.decode(mu, labels).sigmoid()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the mean β-weighted loss of a batch `(images, labels)`; without classes, of images alone too."""
        x, labels = self._pictures(batch, self.num_classes)
        # elbo looks at the values first: once an epoch, since a GPU has to wait for it
        log_likelihood, kl = self.elbo(x, labels) if batch_idx == 0 else self(x, labels)
        loss = (self.beta * kl - log_likelihood).mean()
        self.collect(train_loss=loss, train_kl=kl.mean())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the negative ELBO of a batch like those of `training_step`, and its two terms."""
        x, labels = self._pictures(batch, self.num_classes)
        log_likelihood, kl = (term.mean() for term in self(x, labels))
        figures = {"val_loss": kl - log_likelihood, "val_log_likelihood": log_likelihood, "val_kl": kl}
        self.log_dict(figures, batch_size=len(x), sync_dist=True)

    def _posterior(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        mu, log_var = self.encoder(x, one_hot(labels, self.num_classes, x)).chunk(2, dim=1)
        return mu, log_var

    def _logits(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.decoder(z, one_hot(labels, self.num_classes, z))

    def _check_labels(self, labels: Tensor | None, n: int | torch.SymInt) -> None:
        if not self.num_classes:
            if labels is not None:
                raise ValueError("labels are given, but the model has no classes (num_classes is 0); it takes None.")
            return
        wanted = f"it takes {n} whole numbers from 0 to {self.num_classes - 1}"
        if labels is None:
            raise ValueError(f"labels are missing, and the model has {self.num_classes} classes; {wanted}.")
        if labels.is_floating_point() or labels.shape != (n,):
            raise ValueError(f"labels has the shape {tuple(labels.shape)} and the type {labels.dtype}; {wanted}.")
        if torch.compiler.is_compiling():  # an export has no values to look at
            return
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(f"labels has values from {labels.min()} to {labels.max()}; {wanted}.")


# --- evaluation -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def iwae_bound(
    model: VAE,
    x: Float[Tensor, "batch c h w"],
    k: int,
    labels: Int[Tensor, " batch"] | None = None,
    *,
    chunk: int = 10,
) -> Float[Tensor, " batch"]:
    r"""Return the importance-weighted bound on $\log p(x)$, in nats per picture.

    $$\log p(x) \ge \mathbb E\left[\log \frac1k \sum_{i=1}^k \frac{p(x \mid z_i)\, p(z_i)}{q(z_i \mid x)}\right],
    \qquad z_i \sim q(z \mid x)$$

    For k = 1 it is the ELBO; it grows with k towards $\log p(x)$. The k samples are decoded `chunk` at a time, which
    bounds the memory. Burda, Grosse and Salakhutdinov (2016), https://arxiv.org/abs/1509.00519.

    Raises `ValueError` for k or chunk below 1, and as the model does.
    """
    check_count("k", k)
    check_count("chunk", chunk)
    mu, log_var = model.encode(x, labels)
    log_weights = []
    for eps in torch.randn(k, *mu.shape, device=mu.device, dtype=mu.dtype).split(chunk):
        z = reparameterise(mu, log_var, eps)  # (chunk, batch, latent)
        repeated = None if labels is None else labels.repeat(len(z))
        logits = model.decode(z.flatten(0, 1), repeated)
        log_likelihood = bernoulli_log_likelihood(logits, x.repeat(len(z), 1, 1, 1)).unflatten(0, z.shape[:2])
        # log p(z) - log q(z|x); the constants log 2π cancel.
        log_ratio = 0.5 * (eps.square() + log_var - z.square()).sum(dim=2)
        log_weights.append(log_likelihood + log_ratio)
    return torch.cat(log_weights).logsumexp(dim=0) - math.log(k)


@torch.no_grad()
def negative_elbo(
    model: VAE, x: Float[Tensor, "batch c h w"], labels: Int[Tensor, " batch"] | None = None, *, samples: int = 20
) -> float:
    """Return the mean negative ELBO (without β) of held-out pictures, in nats per picture, over `samples` draws of z.

    Raises `ValueError` for samples below 1, and as the model does.
    """
    check_count("samples", samples)
    draws = [model.elbo(x, labels) for _ in range(samples)]
    return float(torch.stack([(kl - log_likelihood).mean() for log_likelihood, kl in draws]).mean())


# --- the course's VAE -------------------------------------------------------------------------------------------------


def recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the VAE of the chapter, as plain values: `data`, `model` and `fit` settings and the seed.

    Raises `ValueError` for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    return {
        "data": {"name": "digits", "batch_size": 200, "rotate": 10.0, "shift": 1.0, "scale": 0.05},
        "model": {
            "latent_dim": 16,
            "learning_rate": {"smoke": 8e-3, "cpu": 8e-3, "gpu": 3e-3}[profile],
            "channels": {"smoke": 16, "cpu": 32, "gpu": 64}[profile],
            "width": {"smoke": 128, "cpu": 256, "gpu": 512}[profile],
        },
        "fit": {"max_epochs": {"smoke": 1, "cpu": 150, "gpu": 500}[profile], "seed": 0},
    }


def train(profile: str = "auto") -> tuple[VAE, dict[str, list[float]]]:
    """Train the VAE by its recipe and put it into the cache; return it with its curve (see `training.fit`)."""
    model, history = training.trained_by(recipe(profile), "vae", VAE, ImageData, retrain=True)
    return cast(VAE, model), history


def pretrained(profile: str = "auto") -> VAE:
    """Return the VAE of the recipe: from the cache, else trained first.

    A changed recipe, or a changed version of this module, never meets an old model.
    """
    return cast(VAE, training.trained_by(recipe(profile), "vae", VAE, ImageData)[0])
