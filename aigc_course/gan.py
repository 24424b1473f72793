r"""Generative adversarial networks: dense and convolutional, with four losses, with and without classes.

The module reads like the papers: the losses, the networks, the game, the recipes by which the course trains. Sources:
Goodfellow et al. (2014), "Generative Adversarial Nets", https://arxiv.org/abs/1406.2661; Radford, Metz and Chintala
(2015), https://arxiv.org/abs/1511.06434, for the convolutions; Gulrajani et al. (2017),
https://arxiv.org/abs/1704.00028, for the critic with a gradient penalty; Lim and Ye (2017),
https://arxiv.org/abs/1705.02894, for the hinge loss; Mescheder, Geiger and Nowozin (2018),
https://arxiv.org/abs/1801.04406, for the penalty R1.

Pictures have values in [-1, 1], the range of the generators' tanh.
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
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel

from aigc_course import training
from aigc_course.checks import check_count, check_not_negative, check_positive
from aigc_course.data import ImageData, random_affine
from aigc_course.tensors import one_hot

# --- the losses -------------------------------------------------------------------------------------------------------


def discriminator_loss(real_logits: Float[Tensor, " real"], fake_logits: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    r"""Return what the discriminator lowers, in nats: the binary cross-entropy of "real" against "generated".

    $$-\tfrac1n \sum_i \log D(x_i) - \tfrac1m \sum_j \log\big(1 - D(G(z_j))\big)$$

    with $D = \operatorname{sigmoid}(\ell)$ of the logits $\ell$: minus the game's value $V(D, G)$. At $D = \frac12$
    everywhere it is $\log 4$. Goodfellow et al. (2014), equation 1.
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def saturating_loss(fake_logits: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    r"""Return what the generator lowers in the minimax game, $\tfrac1m \sum_j \log\big(1 - D(G(z_j))\big)$, in nats.

    Its derivative with respect to a logit is $-D$ (over $m$): it vanishes where the discriminator is sure of a fake.
    Goodfellow et al. (2014), equation 1.
    """
    return -F.softplus(fake_logits).mean()


def non_saturating_loss(fake_logits: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    r"""Return the generator's loss in practice, $-\tfrac1m \sum_j \log D(G(z_j))$, in nats.

    Its derivative with respect to a logit is $D - 1$ (over $m$): it is largest where the discriminator is sure of a
    fake. Goodfellow et al. (2014), section 3.
    """
    return F.softplus(-fake_logits).mean()


def critic_loss(real_scores: Float[Tensor, " real"], fake_scores: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    r"""Return what the critic lowers, $\tfrac1m \sum_j f(G(z_j)) - \tfrac1n \sum_i f(x_i)$, without its penalty.

    If $f$ is the best of all 1-Lipschitz functions, this is minus the earth mover's distance, in the units of the data.
    Arjovsky, Chintala and Bottou (2017), https://arxiv.org/abs/1701.07875.
    """
    return fake_scores.mean() - real_scores.mean()


def critic_generator_loss(fake_scores: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    r"""Return what the generator lowers against a critic, $-\tfrac1m \sum_j f(G(z_j))$."""
    return -fake_scores.mean()


def hinge_loss(real_scores: Float[Tensor, " real"], fake_scores: Float[Tensor, " fake"]) -> Float[Tensor, ""]:
    r"""Return the discriminator's hinge loss, which asks for a score of at least 1 for real and at most -1 for others.

    $$\tfrac1n \sum_i \max\big(0, 1 - f(x_i)\big) + \tfrac1m \sum_j \max\big(0, 1 + f(G(z_j))\big)$$

    The best scores are 1 where real examples are denser and -1 where generated ones are; the loss is then $2 (1 - T)$
    with the total variation distance $T = \tfrac12 \int |p - q|$. The generator lowers `critic_generator_loss`. Lim and
    Ye (2017), https://arxiv.org/abs/1705.02894; Miyato et al. (2018), https://arxiv.org/abs/1802.05957.
    """
    return F.relu(1 - real_scores).mean() + F.relu(1 + fake_scores).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "batch ..."],
    fake: Float[Tensor, "batch ..."],
    mix: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    r"""Return the mean squared difference of the critic's slope from 1 between real and generated examples.

    $$\frac1n \sum_i \big(\lVert \nabla_{\hat x} f(\hat x_i) \rVert_2 - 1\big)^2,
    \qquad \hat x_i = u_i x_i + (1 - u_i) \tilde x_i, \quad u_i \sim \mathcal U(0, 1)$$

    The norm is taken over all numbers of one example, and each example has a $u$ of its own. Gradients flow to the
    critic's weights. Gulrajani et al. (2017), equation 3. The best critic has slope 1 on the lines of an optimal
    transport plan; the pairs here are random, so the penalty is a heuristic.

    **Arguments:** `critic`: from examples to one score each; it must treat each example by itself (no batch
    normalisation); `mix`: the $u$, drawn if not given.
    """
    if mix is None:
        mix = torch.rand(len(real), device=real.device, dtype=real.dtype)
    mix = mix.view(-1, *[1] * (real.ndim - 1))
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    r"""Return half the mean squared slope of the discriminator's logit at real examples, the penalty R1.

    $$\frac1{2n} \sum_i \lVert \nabla_x \ell(x_i) \rVert_2^2$$

    Gradients flow to the discriminator's weights. Mescheder, Geiger and Nowozin (2018),
    https://arxiv.org/abs/1801.04406, without their weight $\gamma$.

    **Arguments:** `discriminator`: from examples to one logit each; it must treat each example by itself (no batch
    normalisation).
    """
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope.flatten(1).square().sum(dim=1).mean() / 2


# --- the networks -----------------------------------------------------------------------------------------------------


def _as_given(layer: nn.Module) -> nn.Module:
    return layer


def _check_sizes(latent_dim: int, shape: Sequence[int], **counts: int) -> None:
    check_count("latent_dim", latent_dim)
    if not shape or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}; it takes the sizes of one example without the batch, all ≥ 1.")
    for name, value in counts.items():
        check_count(name, value)


class DenseGenerator(nn.Module):
    """From codes to examples through fully connected layers with ReLU; pictures end in tanh.

    **Arguments:** `latent_dim`: dimensions of a code; `shape`: of one example, `(2,)` for points, `(1, 28, 28)` for
    pictures; `width`, `depth`: of the hidden layers; `normalise`: batch normalisation in each of them.

    Raises `ValueError` for a size below 1.
    """

    num_classes = 0

    def __init__(
        self, latent_dim: int, shape: Sequence[int], *, width: int = 128, depth: int = 2, normalise: bool = False
    ) -> None:
        super().__init__()
        _check_sizes(latent_dim, shape, width=width, depth=depth)
        self.arguments = {"latent_dim": latent_dim, "shape": tuple(shape), "width": width, "depth": depth}
        self.arguments["normalise"] = normalise
        self.latent_dim, self.shape = latent_dim, tuple(shape)
        sizes = [latent_dim, *[width] * depth]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), *([nn.BatchNorm1d(outputs)] if normalise else []), nn.ReLU()]
        layers += [nn.Linear(width, math.prod(shape)), nn.Unflatten(1, self.shape)]
        if len(shape) == 3:
            layers.append(nn.Tanh())
        self.net = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "batch latent"], labels: Tensor | None = None) -> Float[Tensor, "batch ..."]:
        """Return one example per code; labels make no difference."""
        return self.net(z)


class DenseDiscriminator(nn.Module):
    """From examples to one logit (or score) each through fully connected layers with leaky ReLU.

    **Arguments:** as for `DenseGenerator`; `spectral`: divide each weight matrix by its largest singular value, so
    that the network is 1-Lipschitz (Miyato et al., 2018, https://arxiv.org/abs/1802.05957).

    Raises `ValueError` for a size below 1.
    """

    num_classes = 0

    def __init__(self, shape: Sequence[int], *, width: int = 128, depth: int = 2, spectral: bool = False) -> None:
        super().__init__()
        _check_sizes(1, shape, width=width, depth=depth)
        self.arguments = {"shape": tuple(shape), "width": width, "depth": depth, "spectral": spectral}
        self.shape = tuple(shape)
        bounded = spectral_norm if spectral else _as_given
        sizes = [math.prod(shape), *[width] * depth]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [bounded(nn.Linear(inputs, outputs)), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, bounded(nn.Linear(width, 1)), nn.Flatten(0))

    def forward(self, x: Float[Tensor, "batch ..."], labels: Tensor | None = None) -> Float[Tensor, " batch"]:
        """Return one logit per example; labels make no difference."""
        return self.net(x)


def _halvings(shape: Sequence[int]) -> tuple[int, int]:
    """Return how often a picture's side is halved until a side of 4 to 7 is left, and that side."""
    if len(shape) != 3 or shape[1] != shape[2] or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}; it takes (channels, side, side) of a square picture.")
    side, halvings = shape[1], 0
    while side > 7 and side % 2 == 0:
        side, halvings = side // 2, halvings + 1
    if not (4 <= side <= 7 and halvings):
        raise ValueError(
            f"shape is {tuple(shape)}; halving its side {shape[1]} ends at {side}, and the convolutions need to end at "
            "4 to 7 after one halving or more. Sides such as 28, 32, 48, 64 or 128 can be made: crop, pad or resize."
        )
    return halvings, side


class _ByClass(nn.Module):
    r"""Class-conditional batch normalisation: each class has its own gain and shift, $\gamma_y \hat h + \delta_y$.

    De Vries et al. (2017), https://arxiv.org/abs/1707.00683.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(num_classes, channels)
        self.shift = nn.Embedding(num_classes, channels)
        nn.init.normal_(self.gain.weight, 1.0, 0.02)
        nn.init.zeros_(self.shift.weight)

    def forward(self, h: Float[Tensor, "batch c h w"], labels: Int[Tensor, " batch"]) -> Tensor:
        return self.gain(labels)[..., None, None] * self.normalise(h) + self.shift(labels)[..., None, None]


class ConvGenerator(nn.Module):
    """From codes to pictures through transposed convolutions that double the side, with batch normalisation and ReLU.

    The code becomes a picture with a side of 4 to 7 pixels; each further layer (kernel 4, stride 2, padding 1) doubles
    the side and halves the number of channels; the last one ends in tanh. The kernels of the convolutions are drawn
    with a standard deviation of 0.02, the weights of a dense layer as PyTorch does. Radford, Metz and Chintala (2015),
    https://arxiv.org/abs/1511.06434.

    With `num_classes` the generator makes pictures by label. The one-hot label is appended to the code; with
    `conditioning="concatenation"` that is all. With `"batch_norm"` the batch normalisations are class-conditional too
    (de Vries et al., 2017, https://arxiv.org/abs/1707.00683), which suits a discriminator with `"projection"`.

    **Arguments:** `latent_dim`: dimensions of a code; `shape`: `(channels, side, side)` of a picture; `channels`: of
    the last hidden layer; `hidden`: units of a dense layer between the code and the first picture, 0 for none as in
    the paper; `num_classes`: 0 for none; `conditioning`: `"batch_norm"` or `"concatenation"`.

    Raises `ValueError` for a size below 1, a side that doubling cannot reach, an unknown conditioning.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        *,
        channels: int = 32,
        hidden: int = 0,
        num_classes: int = 0,
        conditioning: str = "batch_norm",
    ) -> None:
        super().__init__()
        halvings, side = _halvings(shape)
        _check_sizes(latent_dim, shape, channels=channels)
        check_count("hidden", hidden, least=0)
        _check_conditioning("generator", num_classes, conditioning, ("batch_norm", "concatenation"))
        self.latent_dim, self.shape, self.num_classes = latent_dim, tuple(shape), num_classes
        self.arguments = {"latent_dim": latent_dim, "shape": tuple(shape), "channels": channels, "hidden": hidden}
        self.arguments |= {"num_classes": num_classes, "conditioning": conditioning}
        by_class = num_classes and conditioning == "batch_norm"
        self.layers, self.normalisations = nn.ModuleList(), nn.ModuleList()
        inputs = latent_dim + num_classes
        self.first = (
            nn.Identity()
            if not hidden
            else nn.Sequential(nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU())
        )
        inputs = hidden or inputs
        for step in range(halvings):
            outputs = channels * 2 ** (halvings - 1 - step)
            # The first layer's kernel covers its whole output; no bias where a normalisation takes it away again.
            kernel, stride, padding = (4, 2, 1) if step else (side, 1, 0)
            self.layers.append(nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=False))
            self.normalisations.append(_ByClass(outputs, num_classes) if by_class else nn.BatchNorm2d(outputs))
            inputs = outputs
        self.output = nn.ConvTranspose2d(inputs, shape[0], kernel_size=4, stride=2, padding=1)
        _begin_small(self)

    def forward(
        self, z: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch c h w"]:
        """Return one picture per code, values in [-1, 1]."""
        h = self.first(torch.cat([z, one_hot(labels, self.num_classes, z)], dim=1))[..., None, None]
        for layer, normalise in zip(self.layers, self.normalisations, strict=True):
            h = layer(h)
            h = F.relu(normalise(h, labels) if isinstance(normalise, _ByClass) else normalise(h))
        return self.output(h).tanh()


class ConvDiscriminator(nn.Module):
    r"""From pictures to one logit (or score) each through convolutions that halve the side, with leaky ReLU.

    It mirrors `ConvGenerator`. Radford, Metz and Chintala (2015), https://arxiv.org/abs/1511.06434.

    With `num_classes` it judges a picture together with its label. `conditioning="concatenation"` appends the label to
    the picture as `num_classes` constant channels (Mirza and Osindero, 2014, https://arxiv.org/abs/1411.1784);
    `"projection"` adds $v_y^\top \phi(x)$ to the logit, with a learnt vector $v_y$ for each class and the features
    $\phi(x)$ that the last layer sees (Miyato and Koyama, 2018, https://arxiv.org/abs/1802.05637).

    **Arguments:**

    - `shape`, `num_classes`: as for `ConvGenerator`.
    - `conditioning`: `"projection"` or `"concatenation"`.
    - `channels`: of the first layer.
    - `hidden`: units of a dense layer after the convolutions, 0 for none as in the paper. On a small picture, halved
      only twice, a unit of the last convolution sees a patch of 10×10 pixels; without this layer the logit is a sum
      over patches that nobody compares.
    - `normalisation`: `"batch"` after every layer but the first and the last, as in the paper; `"spectral"`: weights
      divided by their largest singular value (Miyato et al., 2018, https://arxiv.org/abs/1802.05957), a kernel as a
      matrix with one row per output channel, which limits a convolution but does not make it 1-Lipschitz; `"none"`,
      which suits a gradient penalty.

    Raises `ValueError` as `ConvGenerator` does, and for an unknown normalisation.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        channels: int = 32,
        hidden: int = 0,
        num_classes: int = 0,
        conditioning: str = "projection",
        normalisation: str = "batch",
    ) -> None:
        super().__init__()
        halvings, side = _halvings(shape)
        _check_sizes(1, shape, channels=channels)
        check_count("hidden", hidden, least=0)
        _check_conditioning("discriminator", num_classes, conditioning, ("projection", "concatenation"))
        if normalisation not in ("batch", "spectral", "none"):
            raise ValueError(f"normalisation is {normalisation!r}; it takes 'batch', 'spectral' or 'none'.")
        self.shape, self.num_classes = tuple(shape), num_classes
        self.arguments = {"shape": tuple(shape), "channels": channels, "hidden": hidden, "num_classes": num_classes}
        self.arguments |= {"conditioning": conditioning, "normalisation": normalisation}
        self.concatenates = conditioning == "concatenation" and num_classes > 0
        inputs = shape[0] + (num_classes if self.concatenates else 0)
        layers: list[nn.Module] = []
        for step in range(halvings):
            outputs = channels * 2**step
            layers.append(nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1))
            if normalisation == "batch" and step:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2))
            inputs = outputs
        layers.append(nn.Flatten())
        inputs *= side**2
        if hidden:
            layers.append(nn.Linear(inputs, hidden))
            if normalisation == "batch":
                layers.append(nn.BatchNorm1d(hidden))
            layers.append(nn.LeakyReLU(0.2))
            inputs = hidden
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, 1)
        projects = num_classes and not self.concatenates
        self.by_class = nn.Linear(num_classes, inputs, bias=False) if projects else None
        _begin_small(self)
        if normalisation == "spectral":
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)

    def forward(
        self, x: Float[Tensor, "batch c h w"], labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Return one logit per picture."""
        classes = one_hot(labels, self.num_classes, x)
        if self.concatenates:
            x = torch.cat([x, classes[..., None, None].expand(-1, -1, *x.shape[2:])], dim=1)
        h = self.features(x)
        logits = self.head(h).squeeze(1)
        return logits if self.by_class is None else logits + (self.by_class(classes) * h).sum(dim=1)


def _begin_small(network: nn.Module) -> None:
    """Draw the kernels of all convolutions with a standard deviation of 0.02."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)


def _check_conditioning(player: str, num_classes: int, conditioning: str, ways: tuple[str, str]) -> None:
    check_count("num_classes", num_classes, least=0)
    if conditioning not in ways:
        raise ValueError(f"conditioning is {conditioning!r}; a {player} takes {ways[0]!r} or {ways[1]!r}.")


# --- the game ---------------------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """What the players of one game lower, from the discriminator's answers on real and on generated examples."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    score: Callable[[Tensor], Tensor]  # what is logged of an answer
    penalised: bool  # whether the penalty on slopes other than 1 belongs to the discriminator's loss


LOSSES = {
    "non_saturating": Loss(discriminator_loss, non_saturating_loss, torch.sigmoid, penalised=False),
    "saturating": Loss(discriminator_loss, saturating_loss, torch.sigmoid, penalised=False),
    "wasserstein": Loss(critic_loss, critic_generator_loss, nn.Identity(), penalised=True),
    "hinge": Loss(hinge_loss, critic_generator_loss, nn.Identity(), penalised=False),
}


class GAN(training.NetworkModel):
    r"""A generator and a discriminator that train against each other, each with an optimiser of its own.

    A batch is cut into `discriminator_steps` parts. On each of them the discriminator takes a step of Adam against
    fresh samples; then the generator takes one step. Only the weights of the player whose turn it is get a gradient.

    | loss | the discriminator lowers | the generator lowers |
    | --- | --- | --- |
    | `"non_saturating"` | `discriminator_loss` | `non_saturating_loss` |
    | `"saturating"` | `discriminator_loss` | `saturating_loss` |
    | `"wasserstein"` | `critic_loss` + `penalty` × `gradient_penalty` | `critic_generator_loss` |
    | `"hinge"` | `hinge_loss` | `critic_generator_loss` |

    With `r1` above 0 the discriminator's loss has `r1` × `r1_penalty` added to it, whichever it is.

    Samples come from a running average of the generator's weights, $\bar\theta \leftarrow d \bar\theta + (1 - d)
    \theta$ after every step, which smooths out the players' circling (Yazıcı et al., 2019,
    https://arxiv.org/abs/1806.04498).

    Logged once per epoch: `discriminator_loss` (without penalties), `generator_loss`, `real_score` and `fake_score`
    (the means of $D(x)$ and $D(G(z))$; for Wasserstein and hinge of $f$), for Wasserstein also `penalty`, and `r1` if
    it is above 0.

    **Arguments:**

    - `generator`, `discriminator`: of the same shape and number of classes.
    - `loss`: see the table.
    - `generator_lr`, `discriminator_lr`: learning rates; two time-scales if they differ.
    - `betas`: of Adam. The first, its momentum, is 0.5 as in Radford, Metz and Chintala (2015), who found 0.9 unstable.
    - `discriminator_steps`: steps of the discriminator for each step of the generator.
    - `penalty`: the weight of the gradient penalty, ≥ 0; without meaning for the other losses.
    - `r1`: the weight $\gamma$ of the penalty R1, ≥ 0, for any loss.
    - `ema_decay`: $d$, in [0, 1); 0 means the generator as it is.
    - `cool_down`: the final share of the training, in which both learning rates fall linearly to 0.
    - `augmentation`: arguments of `data.random_affine`, for pictures. The discriminator sees all pictures, real and
      generated, only after this change, and gradients pass through it. This makes a few pictures harder to memorise,
      and the generator does not learn the augmentation (Zhao et al., 2020, https://arxiv.org/abs/2006.10738).

    `GAN.load_from_checkpoint(path)` builds the course's networks as they were; other ones are asked for by name.

    Raises `ValueError` for arguments outside these ranges, augmentation of points, networks that do not fit each other,
    pictures with values outside [-1, 1] or with none below 0 (which are in [0, 1], not scaled), a batch that
    `discriminator_steps` cannot share evenly, labels out of range.
    """

    network_classes = (DenseGenerator, DenseDiscriminator, ConvGenerator, ConvDiscriminator)

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        loss: str = "non_saturating",
        generator_lr: float = 2e-4,
        discriminator_lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        discriminator_steps: int = 1,
        penalty: float = 10.0,
        r1: float = 0.0,
        ema_decay: float = 0.0,
        cool_down: float = 0.0,
        augmentation: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss is {loss!r}; it takes one of {', '.join(map(repr, LOSSES))}.")
        if generator.shape != discriminator.shape:
            raise ValueError(
                f"the generator makes examples of shape {generator.shape} and the discriminator takes "
                f"{discriminator.shape}; give both the same shape."
            )
        if generator.num_classes != discriminator.num_classes:
            raise ValueError(
                f"the generator has num_classes {generator.num_classes} and the discriminator "
                f"{discriminator.num_classes}; give both the same."
            )
        penalised = r1 or (LOSSES[loss].penalised and penalty)
        if penalised and training.has_batch_normalisation(discriminator):
            raise ValueError(
                "a gradient penalty needs a critic that treats each example by itself; "
                "build the discriminator without batch normalisation (normalisation='none' or 'spectral')."
            )
        self.shape = cast(tuple[int, ...], generator.shape)
        if augmentation and len(self.shape) != 3:
            raise ValueError(f"augmentation is for pictures, not for examples of shape {self.shape}; leave it out.")
        check_positive("generator_lr", generator_lr)
        check_positive("discriminator_lr", discriminator_lr)
        check_count("discriminator_steps", discriminator_steps)
        check_not_negative("penalty", penalty)
        check_not_negative("r1", r1)
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay is {ema_decay}; it takes a number in [0, 1).")
        if not 0 <= cool_down <= 1:
            raise ValueError(f"cool_down is {cool_down}; it takes a number in [0, 1].")
        self.automatic_optimization = False  # two optimisers take turns
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim, self.num_classes = cast(int, generator.latent_dim), cast(int, generator.num_classes)
        self.loss, self.betas, self.penalty, self.r1 = loss, betas, penalty, r1
        self.generator_lr, self.discriminator_lr = generator_lr, discriminator_lr
        self.discriminator_steps, self.cool_down = discriminator_steps, cool_down
        self.augmentation = augmentation or {}
        average = partial(training.running_average, ema_decay)
        self.averaged = AveragedModel(generator, multi_avg_fn=average, use_buffers=True) if ema_decay else None
        self.save_hyperparameters(ignore=["generator", "discriminator"])
        self.keep_networks(generator=generator, discriminator=discriminator)

    def configure_optimizers(self) -> Any:
        """Adam for the discriminator and for the generator, both with the schedule that `cool_down` describes."""
        steps = training.planned_steps(self)
        if self.trainer.max_steps > 0:  # Lightning counts the steps of both players
            steps = min(steps, math.ceil(self.trainer.max_steps / (self.discriminator_steps + 1)))
        players = (
            (self.discriminator, self.discriminator_lr, steps * self.discriminator_steps),
            (self.generator, self.generator_lr, steps),
        )
        optimizers = [torch.optim.Adam(player.parameters(), rate, self.betas) for player, rate, _ in players]
        schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, partial(self._rate, total))
            for optimizer, (_, _, total) in zip(optimizers, players, strict=True)
        ]
        return optimizers, schedules

    def _rate(self, total: int, step: int) -> float:
        """Return the share of its learning rate that a player has at a step of `total`."""
        return min(1.0, (1 - step / total) / self.cool_down) if self.cool_down else 1.0

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Let both players take their turns on a batch `(images, labels)`; without classes, on images alone too."""
        name = "images" if len(self.shape) == 3 else "examples"
        given = training.tensors_of(batch, name, "labels", least=2 if self.num_classes else 1)
        x = training.as_floats(name, given[0], self)
        labels = given[1] if self.num_classes else torch.zeros(len(x), dtype=torch.long, device=x.device)
        if batch_idx == 0:  # once per epoch: a GPU has to wait for it
            self._check_batch(x, labels)
        optimizers, schedules = cast(Any, self.optimizers()), cast(Any, self.lr_schedulers())
        parts = zip(x.chunk(self.discriminator_steps), labels.chunk(self.discriminator_steps), strict=True)
        for real, wanted in parts:
            self._step(optimizers[0], schedules[0], self.discriminator, self.discriminator_turn(real, wanted))
        self._step(optimizers[1], schedules[1], self.generator, self.generator_turn(wanted))
        if self.averaged is not None:
            self.averaged.update_parameters(self.generator)

    def discriminator_turn(self, real: Tensor, labels: Tensor) -> Float[Tensor, ""]:
        """Return the discriminator's loss on real examples and as many generated ones."""
        players = LOSSES[self.loss]
        with torch.no_grad():  # the generator takes no step on this loss, so it needs no graph
            fake = self._seen(self.generator(self._codes(len(real)), labels))
        real = self._seen(real)
        real_logits, fake_logits = self.discriminator(real, labels), self.discriminator(fake, labels)
        loss = players.discriminator(real_logits, fake_logits)
        real_score, fake_score = players.score(real_logits).mean(), players.score(fake_logits).mean()
        self.collect(discriminator_loss=loss, real_score=real_score, fake_score=fake_score)
        if players.penalised:
            slope = gradient_penalty(lambda x: self.discriminator(x, labels), real, fake)
            self.collect(penalty=slope)
            loss = loss + self.penalty * slope
        if self.r1:
            squared = r1_penalty(lambda x: self.discriminator(x, labels), real)
            self.collect(r1=squared)
            loss = loss + self.r1 * squared
        return loss

    def generator_turn(self, labels: Tensor) -> Float[Tensor, ""]:
        """Return the generator's loss on as many fresh samples as there are labels."""
        fake = self._seen(self.generator(self._codes(len(labels)), labels))
        logits = self.discriminator(fake, labels)
        loss = LOSSES[self.loss].generator(logits)
        self.collect(generator_loss=loss)
        return loss

    def _step(self, optimizer: Any, schedule: Any, player: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss, inputs=list(player.parameters()))  # and to nobody else's weights
        optimizer.step()
        schedule.step()

    def _seen(self, x: Tensor) -> Tensor:
        """Return what the discriminator sees of examples; outside a picture it is black, which is -1."""
        return random_affine(x + 1, **self.augmentation) - 1 if self.augmentation else x

    def _codes(self, n: int) -> Float[Tensor, "n latent"]:
        return torch.randn(n, self.latent_dim, device=self.device, dtype=cast(torch.dtype, self.dtype))

    @torch.no_grad()
    def sample(self, n: int, labels: Int[Tensor, " n"] | None = None) -> Float[Tensor, "n ..."]:
        """Return n samples of the averaged generator, pictures with values in [-1, 1].

        With classes, `labels` says which; they are drawn uniformly if not given. Raises `ValueError` for n below 1, for
        labels that are not n whole numbers in range, and for labels given to a model without classes.
        """
        check_count("n", n)
        return self.from_codes(self._codes(n), labels)

    @torch.no_grad()
    def from_codes(
        self, z: Float[Tensor, "n latent"], labels: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n ..."]:
        """Return what the averaged generator makes of these codes; otherwise like `sample`."""
        network = self.generator if self.averaged is None else self.averaged.module
        if z.ndim != 2 or z.shape[1] != self.latent_dim or len(z) == 0:
            raise ValueError(f"z has the shape {tuple(z.shape)}; it takes (n, {self.latent_dim}), n at least 1.")
        if labels is not None:
            if not self.num_classes:
                raise ValueError("labels were given to a generator without classes; leave them out.")
            self._check_labels(labels, len(z))
        elif self.num_classes:
            labels = torch.randint(self.num_classes, (len(z),), device=z.device)
        with training.evaluating(network):  # each sample by itself: not normalised by the statistics of this batch
            return torch.cat(
                [
                    network(part, None if labels is None else labels[start : start + 500])
                    for start, part in zip(range(0, len(z), 500), z.split(500), strict=True)
                ]
            )

    def _check_batch(self, x: Tensor, labels: Tensor) -> None:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"the batch has examples of shape {tuple(x.shape[1:])}; the model takes {self.shape}.")
        if len(x) % self.discriminator_steps or len(x) == 0:
            raise ValueError(
                f"the batch has {len(x)} examples, which {self.discriminator_steps} discriminator_steps "
                "cannot share evenly."
            )
        low, high = float(x.min()), float(x.max())
        if len(self.shape) == 3:
            if not (low >= -1 and high <= 1):  # so written that NaN is refused too
                raise ValueError(f"the pictures have values from {low:.3g} to {high:.3g}; they take values in [-1, 1].")
            if low >= 0:
                raise ValueError(
                    f"the pictures have values from {low:.3g} to {high:.3g}, none below 0: scale them to [-1, 1], "
                    "the range of the generator's tanh (ImageData(..., signed=True), or 2 * x - 1)."
                )
        if self.num_classes:
            self._check_labels(labels, len(x))

    def _check_labels(self, labels: Tensor, n: int) -> None:
        if labels.is_floating_point() or labels.shape != (n,):
            raise ValueError(
                f"labels has the shape {tuple(labels.shape)} and the type {labels.dtype}; it takes {n} whole numbers."
            )
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(
                f"labels has values from {labels.min()} to {labels.max()}; "
                f"it takes classes from 0 to {self.num_classes - 1}."
            )


# --- the course's GANs ------------------------------------------------------------------------------------------------


def build(
    architecture: str, generator: dict[str, Any], discriminator: dict[str, Any], game: dict[str, Any] | None = None
) -> GAN:
    """Return a GAN from the arguments of its parts; `architecture` is `"dense"` or `"convolutional"`.

    The weights are drawn from PyTorch's global generator. Raises `ValueError` for another architecture, and as the
    parts do.
    """
    if architecture == "dense":
        return GAN(DenseGenerator(**generator), DenseDiscriminator(**discriminator), **(game or {}))
    if architecture == "convolutional":
        return GAN(ConvGenerator(**generator), ConvDiscriminator(**discriminator), **(game or {}))
    raise ValueError(f"architecture is {architecture!r}; it takes 'dense' or 'convolutional'.")


def recipe(name: str, profile: str = "auto") -> dict[str, Any]:
    """Return all that decides a GAN of the chapters, as plain values: `data`, `model` and `fit` settings and the seed.

    `name` is `"dense"` (chapter "The adversarial game"), `"dcgan"` or `"conditional"`. Raises `ValueError` for another
    name or an unknown profile.
    """
    profile = training.resolve_profile(profile)
    if name not in ("dense", "dcgan", "conditional"):
        raise ValueError(f"name is {name!r}; it takes 'dense', 'dcgan' or 'conditional'.")
    scale = {"smoke": 0, "cpu": 1, "gpu": 2}[profile]
    epochs = {"dense": (1, 50, 200), "dcgan": (1, 50, 200), "conditional": (1, 40, 100)}
    network: dict[str, Any] = {"shape": [1, 28, 28]}
    if name == "dense":
        network["width"] = (32, 256, 512)[scale]
    else:
        network |= {"channels": (4, 32, 64)[scale], "hidden": (16, 256, 512)[scale]}
    if name == "conditional":
        network["num_classes"] = 10
    return {
        "data": {"name": "digits", "batch_size": 64, "signed": True},
        "model": {
            "architecture": "dense" if name == "dense" else "convolutional",
            # Without normalisation the dense generator collapses on these pictures.
            "generator": {"latent_dim": 64, **network, **({"normalise": True} if name == "dense" else {})},
            "discriminator": network,
            "game": {
                "generator_lr": 1e-3,
                "discriminator_lr": 1e-3,
                "ema_decay": 0.995,
                "cool_down": 0.5,
                "augmentation": {"rotate": 20.0, "shift": 2.0, "scale": 0.1},
            },
        },
        "fit": {"max_epochs": epochs[name][scale], "seed": 0, "limit_val_batches": 0},
    }


def train(name: str, profile: str = "auto") -> tuple[GAN, dict[str, list[float]]]:
    """Train the GAN of this name by its recipe and put it into the cache; return it with its curve."""
    model, history = training.trained_by(recipe(name, profile), name, build, ImageData, retrain=True)
    return cast(GAN, model), history


def pretrained(name: str, profile: str = "auto") -> GAN:
    """Return the GAN of the recipe: from the cache, else trained first (see `training.trained_by`)."""
    return cast(GAN, training.trained_by(recipe(name, profile), name, build, ImageData)[0])
