r"""Diffusion and flow matching: an example is drawn by removing noise from it, a little at a time.

The module reads like the papers: the path from data to noise, what a network may be asked to predict on it, the
samplers that walk it back, the network for pictures, the training. Sources: Sohl-Dickstein et al. (2015),
https://arxiv.org/abs/1503.03585; Ho, Jain and Abbeel (2020), https://arxiv.org/abs/2006.11239; Song, Meng and Ermon
(2021), https://arxiv.org/abs/2010.02502; Lipman et al. (2023), https://arxiv.org/abs/2210.02747.

On every path a noisy example is $x_t = a_t x_0 + s_t \epsilon$ with $\epsilon \sim \mathcal N(0, I)$: a share $a_t$ of
signal and a share $s_t$ of noise. Time $t$ runs from 0, the data, to 1, the noise. Data are scaled to [-1, 1] or so.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from aigc_course import training
from aigc_course.checks import check_count, check_not_negative, check_positive
from aigc_course.data import ImageData
from aigc_course.tensors import one_hot

# --- the path from data to noise --------------------------------------------------------------------------------------


class Path(NamedTuple):
    r"""A path from data to noise: at time $t$ a share $a_t$ of signal and a share $s_t$ of noise.

    **Attributes:**

    - `shares`: from times, of any shape, to $(a_t, s_t)$ of that shape.
    - `slopes`: the same to their derivatives $(\dot a_t, \dot s_t)$ with respect to $t$.
    """

    shares: Callable[[Tensor], tuple[Tensor, Tensor]]
    slopes: Callable[[Tensor], tuple[Tensor, Tensor]]

    def noisy(
        self, x: Float[Tensor, "batch ..."], t: Float[Tensor, " batch"], noise: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch ..."]:
        r"""Return $x_t = a_t x_0 + s_t \epsilon$: the forward process in closed form."""
        a, s = self.shares(beside(t, x))
        return a * x + s * noise


def beside(t: Tensor, x: Tensor) -> Tensor:
    """One number per example, shaped so that it multiplies the example."""
    return t.view(-1, *[1] * (x.ndim - 1))


def cosine_path() -> Path:
    r"""Return $a_t = \cos(\pi t / 2)$, $s_t = \sin(\pi t / 2)$; at the end no signal is left.

    Source: Nichol and Dhariwal (2021), https://arxiv.org/abs/2102.09672, without their offset.
    """
    return Path(_cosine_shares, _cosine_slopes)


# Functions of the module and not of the function that returns the path: a model that is pickled has to find them.
def _cosine_shares(t: Tensor) -> tuple[Tensor, Tensor]:
    return (math.pi / 2 * t).cos(), (math.pi / 2 * t).sin()


def _cosine_slopes(t: Tensor) -> tuple[Tensor, Tensor]:
    return -math.pi / 2 * (math.pi / 2 * t).sin(), math.pi / 2 * (math.pi / 2 * t).cos()


def linear_path(first: float = 0.1, last: float = 20.0) -> Path:
    r"""Return the path of Ho et al. (2020) in continuous time, on which the rate of noise grows linearly.

    $$a_t = \exp\Big(-\tfrac12 \int_0^t \beta_r \, dr\Big), \qquad s_t^2 = 1 - a_t^2, \qquad
      \beta_t = \beta_{\text{first}} + t\,(\beta_{\text{last}} - \beta_{\text{first}})$$

    Ho's thousand steps have the thousandth part of these rates. At the end $a_1$ of the signal is left, which is
    small only if the rates are large enough. Source: Song et al. (2021), https://arxiv.org/abs/2011.13456, appendix C.

    Raises `ValueError` for rates that are negative or fall: noise is only ever added.
    """
    check_not_negative("first", first)
    check_positive("last", last)
    if last < first:
        raise ValueError(
            f"last is {last} and first {first}; the rate of noise takes a last value of at least the first."
        )

    return Path(partial(_linear_shares, first, last), partial(_linear_slopes, first, last))


def _linear_shares(first: float, last: float, t: Tensor) -> tuple[Tensor, Tensor]:
    total = first * t + (last - first) * t * t / 2
    return (-total / 2).exp(), (-(-total).expm1()).sqrt()


def _linear_slopes(first: float, last: float, t: Tensor) -> tuple[Tensor, Tensor]:
    (a, s), rate = _linear_shares(first, last, t), first + (last - first) * t
    return -rate * a / 2, rate * a * a / (2 * s)


def straight_path() -> Path:
    r"""Return $x_t = (1 - t)\,x_0 + t\,\epsilon$, the path of flow matching (Lipman et al., 2023)."""
    return Path(_straight_shares, _straight_slopes)


def _straight_shares(t: Tensor) -> tuple[Tensor, Tensor]:
    return 1 - t, t


def _straight_slopes(t: Tensor) -> tuple[Tensor, Tensor]:
    return -torch.ones_like(t), torch.ones_like(t)


PATHS = {"cosine": cosine_path, "linear": linear_path, "straight": straight_path}


# --- what the network predicts ----------------------------------------------------------------------------------------


class Prediction(NamedTuple):
    r"""What a network is asked for at a point $x_t = a x_0 + s \epsilon$ of a path.

    **Attributes:**

    - `target`: from $x_0$, $\epsilon$ and the path's $a, s$ and slopes $\dot a, \dot s$ to what it should say.
    - `split`: from what it says, $x_t$ and the same four to its guesses of $x_0$ and $\epsilon$.
    """

    target: Callable[..., Tensor]
    split: Callable[..., tuple[Tensor, Tensor]]


def _target_noise(x: Tensor, noise: Tensor, a: Tensor, s: Tensor, da: Tensor, ds: Tensor) -> Tensor:
    return noise


def _target_clean(x: Tensor, noise: Tensor, a: Tensor, s: Tensor, da: Tensor, ds: Tensor) -> Tensor:
    return x


def _target_velocity(x: Tensor, noise: Tensor, a: Tensor, s: Tensor, da: Tensor, ds: Tensor) -> Tensor:
    return da * x + ds * noise


def _split_noise(said: Tensor, x: Tensor, a: Tensor, s: Tensor, da: Tensor, ds: Tensor) -> tuple[Tensor, Tensor]:
    return (x - s * said) / a, said


def _split_clean(said: Tensor, x: Tensor, a: Tensor, s: Tensor, da: Tensor, ds: Tensor) -> tuple[Tensor, Tensor]:
    return said, (x - a * said) / s


def _split_velocity(said: Tensor, x: Tensor, a: Tensor, s: Tensor, da: Tensor, ds: Tensor) -> tuple[Tensor, Tensor]:
    # Two equations, x = a x_0 + s e and v = da x_0 + ds e, solved for the two unknowns.
    determinant = a * ds - s * da
    return (ds * x - s * said) / determinant, (a * said - da * x) / determinant


PREDICTIONS = {
    # Ho et al. (2020). Where no signal is left it says nothing about x_0: the path must keep some.
    "noise": Prediction(_target_noise, _split_noise),
    # Where no noise is left it says nothing about the noise.
    "clean": Prediction(_target_clean, _split_clean),
    # dx_t/dt along the path; Salimans and Ho (2022), https://arxiv.org/abs/2202.00512, on a circle, and flow matching.
    "velocity": Prediction(_target_velocity, _split_velocity),
}

Guess = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # from x_t and t to guesses of x_0 and of the noise


# --- samplers ---------------------------------------------------------------------------------------------------------


def times(steps: int, first: float = 1.0) -> Float[Tensor, " moments"]:
    """Return evenly spaced times from `first` down to 0. Raises `ValueError` for fewer than one step."""
    check_count("steps", steps)
    if not 0 < first <= 1:
        raise ValueError(f"first is {first}; sampling begins at a time in (0, 1].")
    return torch.linspace(first, 0, steps + 1)


@torch.no_grad()
def ddim(
    guess: Guess, path: Path, x: Float[Tensor, "batch ..."], steps: int, *, eta: float = 0.0, first: float = 1.0
) -> Float[Tensor, "batch ..."]:
    r"""Return examples, walked back from the noise `x` in `steps` steps.

    At time $t$ the network guesses $x_0$ and $\epsilon$; the next point, at the earlier time $r$, has the same guesses,
    part of whose noise is fresh:

    $$x_r = a_r \hat x_0 + \sqrt{s_r^2 - \sigma^2}\; \hat\epsilon + \sigma z, \qquad
      \sigma^2 = \eta^2\, \frac{s_r^2}{s_t^2} \Big(s_t^2 - \frac{a_t^2}{a_r^2} s_r^2\Big)$$

    with $z \sim \mathcal N(0, I)$. With $\eta = 0$ nothing is drawn (DDIM; on a straight path it is Euler's method).
    With $\eta = 1$ it is the ancestral sampling of Ho et al. (2020), DDPM, with the smaller of their two variances.
    Source: Song, Meng and Ermon (2021), equations 12 and 16.

    **Arguments:** `x`: noise (at the time `first`, if it is not 1); `eta`: $\eta$, in [0, 1].

    Raises `ValueError` for arguments outside their ranges.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}; it takes a number in [0, 1].")
    moments = times(steps, first).to(x)
    for t, r in pairwise(moments):
        (a_t, s_t), (a_r, s_r) = path.shares(t), path.shares(r)
        clean, noise = guess(x, t.expand(len(x)))
        fresh = eta * s_r / s_t * (s_t**2 - (a_t / a_r) ** 2 * s_r**2).clamp(min=0).sqrt()
        x = a_r * clean + (s_r**2 - fresh**2).clamp(min=0).sqrt() * noise
        if eta and r > 0:
            x = x + fresh * torch.randn_like(x)
    return x


@torch.no_grad()
def heun(
    guess: Guess, path: Path, x: Float[Tensor, "batch ..."], steps: int, *, first: float = 1.0
) -> Float[Tensor, "batch ..."]:
    r"""Return examples by Heun's method for the equation $\dot x = \dot a_t \hat x_0 + \dot s_t \hat\epsilon$.

    It follows the slope at the start of a step, looks at the slope where it lands, and takes their mean: two calls of
    the network in each step but the last, whose end is the data, where a guess of the noise means nothing. Source:
    Karras et al. (2022), https://arxiv.org/abs/2206.00364, algorithm 1.

    Raises `ValueError` for arguments outside their ranges.
    """

    def slope(x: Tensor, t: Tensor) -> Tensor:
        (da, ds), (clean, noise) = path.slopes(t), guess(x, t.expand(len(x)))
        return da * clean + ds * noise

    moments = times(steps, first).to(x)
    for t, r in pairwise(moments):
        here = slope(x, t)
        ahead = x + (r - t) * here
        x = ahead if r == 0 else x + (r - t) * (here + slope(ahead, r)) / 2
    return x


# --- the network for pictures -----------------------------------------------------------------------------------------


def time_features(t: Float[Tensor, " batch"], count: int) -> Float[Tensor, "batch count"]:
    r"""Return $\cos(2\pi \omega_i t)$ and $\sin(2\pi \omega_i t)$ for frequencies $\omega_i$ from 1/4 to 64.

    A network sees a small change of one number badly, and of many waves of it well (Vaswani et al., 2017; here the
    times are in [0, 1] instead of whole numbers).
    """
    frequencies = torch.logspace(-2, 6, count // 2, base=2.0, device=t.device, dtype=t.dtype)
    angles = 2 * math.pi * torch.outer(t, frequencies)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class _Residual(nn.Module):
    """Two convolutions beside a residual connection; time and class turn the channels up and down between them."""

    def __init__(self, channels_in: int, channels: int, given: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(8, channels_in), nn.GroupNorm(8, channels)
        self.conv_1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.amounts = nn.Linear(given, 2 * channels)
        self.straight = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)
        nn.init.zeros_(self.conv_2.weight)  # at first the block hands its input on
        nn.init.zeros_(cast(Tensor, self.conv_2.bias))

    def forward(self, x: Float[Tensor, "batch channels h w"], given: Float[Tensor, "batch given"]) -> Tensor:
        h = self.conv_1(F.silu(self.norm_1(x)))
        gain, shift = self.amounts(given)[..., None, None].chunk(2, dim=1)
        h = self.conv_2(F.silu(self.norm_2(h) * (1 + gain) + shift))
        return self.straight(x) + h


class _SelfAttention(nn.Module):
    """Every position of the map looks at all others."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.GroupNorm(8, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(cast(Tensor, self.out.bias))

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Tensor:
        parts = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        gathered = F.scaled_dot_product_attention(*parts.unbind(1))
        return x + self.out(gathered.transpose(-1, -2).reshape(x.shape))


class UNet(nn.Module):
    r"""A U-Net for small pictures: down to half the resolution, through attention, up again with what it saw before.

    Patches of `PATCH` × `PATCH` pixels become the channels of one position first, so that 28 × 28 pixels are 14 × 14
    positions, which saves time on a CPU. Source: Ronneberger, Fischer and Brox (2015),
    https://arxiv.org/abs/1505.04597, with the residual blocks, attention and time of Ho et al. (2020).

    **Arguments:**

    - `shape`: (colours, height, width); height and width divisible by 2 × `PATCH`.
    - `channels`: at the first resolution, divisible by 8; the second has twice as many.
    - `num_classes`: of labels; 0 for none. With classes the network knows one more label, `num_classes` itself, which
      means that the class is not told.

    Raises `ValueError` for arguments outside these ranges.
    """

    PATCH = 2

    def __init__(self, shape: Sequence[int], channels: int = 64, num_classes: int = 0) -> None:
        super().__init__()
        for name, value in zip(("colours", "height", "width"), shape, strict=True):
            check_count(name, value)
        if shape[1] % (2 * self.PATCH) or shape[2] % (2 * self.PATCH):
            raise ValueError(f"shape is {tuple(shape)}; height and width take multiples of {2 * self.PATCH}.")
        check_count("channels", channels, least=8)
        if channels % 8:
            raise ValueError(f"channels is {channels}; it takes a multiple of 8.")
        check_count("num_classes", num_classes, least=0)
        self.arguments = {"shape": list(shape), "channels": channels, "num_classes": num_classes}
        self.shape, self.channels, self.num_classes = tuple(shape), channels, num_classes
        folded, given = shape[0] * self.PATCH**2, 2 * channels
        labels = num_classes + 1 if num_classes else 0
        self.given = nn.Sequential(nn.Linear(channels + labels, given), nn.SiLU(), nn.Linear(given, given), nn.SiLU())
        self.first = nn.Conv2d(folded, channels, 3, padding=1)
        self.down = _Residual(channels, channels, given)
        self.shrink = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.middle_1 = _Residual(channels, 2 * channels, given)
        self.attention = _SelfAttention(2 * channels)
        self.middle_2 = _Residual(2 * channels, 2 * channels, given)
        self.grow = nn.Conv2d(2 * channels, channels, 3, padding=1)  # before it is enlarged: a quarter of the work
        self.up = _Residual(2 * channels, channels, given)
        self.last = nn.Conv2d(channels, folded, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(cast(Tensor, self.last.bias))

    def forward(
        self,
        x: Float[Tensor, "batch c h w"],
        t: Float[Tensor, " batch"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """Return one number per pixel; without labels, as for examples whose class is not told."""
        if self.num_classes and labels is None:
            labels = torch.full((len(x),), self.num_classes, device=x.device)
        # As large as the features of time.
        told = one_hot(labels, self.num_classes + 1 if self.num_classes else 0, x) * (self.channels / 2) ** 0.5
        given = self.given(torch.cat([time_features(t, self.channels).to(x), told], dim=1))
        return self.through(x, given)

    def through(
        self,
        x: Float[Tensor, "batch c h w"],
        given: Float[Tensor, "batch given"],
        between: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """Return one number per pixel, told what `given` says; `between` changes the map that attention leaves."""
        wide = self.down(self.first(F.pixel_unshuffle(x, self.PATCH)), given)
        h = self.attention(self.middle_1(self.shrink(wide), given))
        h = self.middle_2(h if between is None else between(h), given)
        h = self.grow(h).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)  # nearest neighbours
        h = self.up(torch.cat([h, wide], dim=1), given)
        return F.pixel_shuffle(self.last(F.silu(h)), self.PATCH)


# --- the training -----------------------------------------------------------------------------------------------------


class Diffusion(training.NetworkModel):
    r"""A network that learns to remove noise, and draws by it.

    A batch is put at random times $t$ of the path, and the network lowers

    $$\mathbb E_{t, x_0, \epsilon}\, \big\| \text{network}(x_t, t, y) - \text{target} \big\|^2,$$

    the mean over the numbers of an example, with the target that `prediction` names. Samples come from a running
    average of the weights, $\bar\theta \leftarrow d \bar\theta + (1 - d) \theta$ after every step.

    **Arguments:**

    - `network`: from examples, times and labels to what `prediction` names, such as a `UNet`.
    - `path`: `"cosine"`, `"linear"` or `"straight"`, or a `Path` of your own.
    - `prediction`: `"velocity"`, `"noise"` or `"clean"`.
    - `learning_rate`: Adam's at its peak; it rises during the first 2 % of the training and falls linearly to 0.
    - `ema_decay`: $d$, in [0, 1); 0 for no averaging.
    - `untold`: the share of examples whose class the network is not told, in [0, 1), which guidance needs.

    Logged once per epoch: `train_loss` and `val_loss`.

    Raises `ValueError` for arguments outside these ranges, for a path on which the signal does not fall or the noise
    does not rise, and in training for examples of another shape or labels out of range.
    """

    network_classes = (UNet,)

    def __init__(
        self,
        network: nn.Module,
        *,
        path: str | Path = "cosine",
        prediction: str = "velocity",
        learning_rate: float = 2e-3,
        ema_decay: float = 0.99,
        untold: float = 0.1,
    ) -> None:
        super().__init__()
        if isinstance(path, str) and path not in PATHS:
            raise ValueError(f"path is {path!r}; it takes one of {', '.join(map(repr, PATHS))}, or a Path.")
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction is {prediction!r}; it takes one of {', '.join(map(repr, PREDICTIONS))}.")
        check_positive("learning_rate", learning_rate)
        for name, share in (("ema_decay", ema_decay), ("untold", untold)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is {share}; it takes a number in [0, 1).")
        self.network = network
        self.path = check_path(PATHS[path]() if isinstance(path, str) else path)
        self.prediction, self.learning_rate, self.untold = PREDICTIONS[prediction], learning_rate, untold
        average = partial(training.running_average, ema_decay)
        self.averaged = AveragedModel(network, multi_avg_fn=average) if ema_decay else None
        self.save_hyperparameters(ignore=["network"] if isinstance(path, str) else ["network", "path"])
        self.keep_networks(network=network)

    def loss(self, x: Float[Tensor, "batch ..."], labels: Int[Tensor, " batch"] | None = None) -> Float[Tensor, ""]:
        """Return the loss of these examples at times and with noise drawn from PyTorch's global generator."""
        return self._loss_told(x, labels)

    def _loss_told(self, x: Tensor, told: Any) -> Tensor:
        """The loss of examples of which the network is told whatever it takes, a label or something else."""
        # One time in each of as many equal parts of [0, 1]: every batch sees all of the path.
        t = (torch.randperm(len(x), device=x.device) + torch.rand(len(x), device=x.device)) / len(x)
        noise = torch.randn_like(x)
        t_beside = beside(t, x)
        target = self.prediction.target(x, noise, *self.path.shares(t_beside), *self.path.slopes(t_beside))
        return F.mse_loss(self.network(self.path.noisy(x, t, noise), t, told), target)

    def guess(
        self, labels: Int[Tensor, " batch"] | None = None, guidance: float = 1.0, *, averaged: bool = True
    ) -> Guess:
        r"""Return a function for the samplers: from $x_t$ and $t$ to guesses of $x_0$ and the noise.

        With `guidance` $w$ other than 1 the network's answer with the class, $f_y$, is taken further away from its
        answer without: $f + w (f_y - f)$. Source: Ho and Salimans (2022), https://arxiv.org/abs/2207.12598.

        Raises `ValueError` for a guidance that is not a number, or that needs labels which are not given; and, when it
        is called, where the prediction is the noise and no signal is left, so that it says nothing about $x_0$.
        """
        if math.isfinite(guidance) and guidance != 1 and labels is None:
            raise ValueError(f"guidance is {guidance} and there are no labels to be guided by; give labels.")
        return self._guess_told(labels, None, guidance, averaged)

    def _guess_told(self, told: Any, untold: Any, guidance: float, averaged: bool) -> Guess:
        """The guess of a network that is told something, guided away from what it says to `untold`."""
        if not math.isfinite(guidance):
            raise ValueError(f"guidance is {guidance}; it takes a finite number, 1 for none.")
        network = self.network if self.averaged is None or not averaged else self.averaged.module

        def split(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            said = network(x, t, told)
            if guidance != 1:
                plain = network(x, t, untold)
                said = plain + guidance * (said - plain)
            at = beside(t, x)
            a, s = self.path.shares(at)
            if self.prediction == PREDICTIONS["noise"] and float(a.min()) < 1e-3:
                raise ValueError(
                    f"at the time {float(t.max()):.4g} less than a thousandth of the signal is left, and a prediction "
                    "of the noise says nothing about the example; sample with first=0.99, or train another prediction."
                )
            return self.prediction.split(said, x, a, s, *self.path.slopes(at))

        return split

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(examples, labels)`; without classes, on examples alone too."""
        x, labels = self._examples(batch)
        if labels is not None:
            classes = cast(int, cast(Any, self.network).num_classes)
            labels = torch.where(torch.rand(len(x), device=x.device) < self.untold, classes, labels)
        loss = self.loss(x, labels)
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss on held-out examples."""
        x, labels = self._examples(batch)
        self.log("val_loss", self.loss(x, labels), batch_size=len(x), sync_dist=True)

    def _examples(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        classes = cast(int, getattr(self.network, "num_classes", 0))
        given = training.tensors_of(batch, "examples", "labels", least=2 if classes else 1)
        x = training.as_floats("examples", given[0], self)
        shape = getattr(self.network, "shape", None)
        if shape is not None and tuple(x.shape[1:]) != shape:
            raise ValueError(f"the examples have the shape {tuple(x.shape[1:])}; the network takes {shape}.")
        if not classes:
            return x, None
        labels = given[1]
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            low, high = int(labels.min()), int(labels.max())
            raise ValueError(f"labels run from {low} to {high}; the network knows 0 to {classes - 1}.")
        return x, labels

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the averaged weights."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def configure_optimizers(self) -> Any:
        """Adam, with a learning rate that rises briefly and falls to 0."""
        optimizer = torch.optim.Adam(self.network.parameters(), self.learning_rate, (0.9, 0.99), fused=True)
        return training.with_rise_and_fall(self, optimizer, rising=0.02)


def check_path(path: Path) -> Path:
    """Return the path. Raises `ValueError` unless it begins with all signal, which falls as the noise rises."""
    a, s = path.shares(torch.linspace(0, 1, 1001, dtype=torch.double))
    if abs(float(a[0]) - 1) > 1e-3 or abs(float(s[0])) > 1e-3:
        raise ValueError(
            f"the path begins with the shares {a[0]:.3g} and {s[0]:.3g}; it takes 1 of signal, 0 of noise."
        )
    for name, rises in (("signal falls", -a.diff()), ("noise rises", s.diff())):
        if not bool((rises >= 0).all()):
            place = float((~(rises >= 0)).nonzero()[0, 0]) / 1000
            raise ValueError(f"on a path the {name} all the way; here it does not near the time {place:.3g}.")
    return path


def build(network: dict[str, Any], **settings: Any) -> Diffusion:
    """Return a `Diffusion` around a new `UNet` with the arguments `network`; the weights come from the global seed."""
    return Diffusion(UNet(**network), **settings)


# --- the model of the chapters ----------------------------------------------------------------------------------------


def recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the model of digits, as plain values: `data`, `model` and `fit` settings and the seed.

    Raises `ValueError` for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    return {
        "data": {"name": "digits", "batch_size": {"smoke": 16, "cpu": 16, "gpu": 128}[profile], "signed": True},
        "model": {
            "network": {
                "shape": [1, 28, 28],
                "channels": {"smoke": 8, "cpu": 32, "gpu": 96}[profile],
                "num_classes": 10,
            },
            "path": "cosine",
            "prediction": "velocity",
            "learning_rate": {"smoke": 2e-3, "cpu": 2e-3, "gpu": 1e-3}[profile],
            "ema_decay": {"smoke": 0.9, "cpu": 0.995, "gpu": 0.999}[profile],
            "untold": 0.1,
        },
        "fit": {"max_epochs": {"smoke": 1, "cpu": 30, "gpu": 200}[profile], "seed": 0},
    }


def train(profile: str = "auto") -> tuple[Diffusion, dict[str, list[float]]]:
    """Train the model by its recipe and put it into the cache; return it with its curve (see `training.fit`)."""
    model, history = training.trained_by(recipe(profile), "diffusion", build, ImageData, retrain=True)
    return cast(Diffusion, model), history


def pretrained(profile: str = "auto") -> Diffusion:
    """Return the model of the recipe: from the cache, else trained first (see `training.trained_by`)."""
    return cast(Diffusion, training.trained_by(recipe(profile), "diffusion", build, ImageData)[0])
