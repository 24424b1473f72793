r"""Two models that say exactly how probable a picture is: an autoregressive one and a normalising flow.

The module reads like the papers: for the PixelCNN a layer of its two stacks, the network, the model; for the flow the
coupling, the chain of couplings, the model of pictures; then the recipes. All values are in nats per picture. Sources:
van den Oord, Kalchbrenner and Kavukcuoglu (2016), "Pixel Recurrent Neural Networks", https://arxiv.org/abs/1601.06759;
van den Oord et al. (2016), "Conditional Image Generation with PixelCNN Decoders", https://arxiv.org/abs/1606.05328;
Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP", https://arxiv.org/abs/1605.08803; Theis,
van den Oord and Bethge (2016), "A note on the evaluation of generative models", https://arxiv.org/abs/1511.01844.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import training
from aigc_course.checks import check_count, check_pictures, check_positive
from aigc_course.data import ImageData, load_images

# --- what both models share -------------------------------------------------------------------------------------------


class _PictureModel(training.EpochLogger):
    """A model of pictures with a fixed number of grey levels, trained on minus their log-probability."""

    def __init__(self, shape: Sequence[int], levels: int, learning_rate: float) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"shape is {tuple(shape)}; it takes (channels, height, width).")
        for name, value in zip(("channels", "height", "width"), shape, strict=True):
            check_count(f"shape's {name}", value)
        check_count("levels", levels, least=2)
        check_positive("learning_rate", learning_rate)
        self.shape, self.levels, self.learning_rate = tuple(shape), levels, learning_rate

    def check_pictures(self, x: Tensor) -> None:
        """Raise `ValueError` unless the pictures have the model's shape and no value between its levels."""
        check_pictures(x, self.shape)
        steps = x * (self.levels - 1)
        if float((steps - steps.round()).abs().max()) > 1e-3:
            raise ValueError(
                f"x has values between the levels; the model takes {self.levels} evenly spaced ones from 0 to 1 "
                "(for black and white pictures there is the data set 'binary_digits')."
            )

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return minus the mean log-probability of a batch `(images, labels)`, or of images alone."""
        x = self._pictures(batch)
        if batch_idx == 0:  # once an epoch: a GPU has to wait for it
            self.check_pictures(x)
        loss = -self(x).mean()
        self.collect(train_loss=loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log minus the mean log-probability of held-out pictures."""
        x = self._pictures(batch)
        self.log("val_loss", -self(x).mean(), batch_size=len(x), sync_dist=True)

    def _pictures(self, batch: Any) -> Tensor:
        images = training.tensors_of(batch, "images", "labels", least=1)[0]
        return training.as_floats("images", images, self)

    def configure_optimizers(self) -> Any:
        """Adam, with a learning rate that rises briefly and falls linearly to 0."""
        optimizer = torch.optim.Adam(self.parameters(), self.learning_rate)
        return training.with_rise_and_fall(self, optimizer, rising=0.05)


# --- the autoregressive model -----------------------------------------------------------------------------------------


def _gate(h: Tensor) -> Tensor:
    """Half of the channels say what, the other half how much of it."""
    what, how_much = h.chunk(2, dim=1)
    return what.tanh() * how_much.sigmoid()


class GatedLayer(nn.Module):
    """One layer of both stacks of a gated PixelCNN (van den Oord et al., 2016, figure 2).

    The **vertical** stack looks at its own row and `places` rows above, `places` pixels to both sides. The
    **horizontal** stack looks at its own pixel and `places` to the left of it, in one row, and is told what the
    vertical one has found. Instead of a mask that sets weights of a square kernel to zero, the kernels have only the
    places that are allowed: the same function for less work.

    **Arguments:** `vertical_in`, `horizontal_in`: channels that come in; `channels`: that go out, of each stack;
    `step`: the distance from one place of a kernel to the next (*dilation*).
    """

    def __init__(self, vertical_in: int, horizontal_in: int, channels: int, places: int, step: int = 1) -> None:
        super().__init__()
        self.reach = places * step
        self.vertical = nn.Conv2d(vertical_in, 2 * channels, (places + 1, 2 * places + 1), dilation=step)
        self.horizontal = nn.Conv2d(horizontal_in, 2 * channels, (1, places + 1), dilation=step)
        self.link, self.out = nn.Conv2d(2 * channels, 2 * channels, 1), nn.Conv2d(channels, channels, 1)
        self.residual = horizontal_in == channels

    def down(self, v: Float[Tensor, "batch c h w"]) -> tuple[Tensor, Tensor]:
        """Return the vertical stack's next features, and what they tell the horizontal stack."""
        found = self.vertical(F.pad(v, (self.reach, self.reach, self.reach, 0)))
        return _gate(found), self.link(found)

    def across(self, h: Float[Tensor, "batch c h w"], told: Float[Tensor, "batch d h w"]) -> Tensor:
        """Return the horizontal stack's next features."""
        new = self.out(_gate(self.horizontal(F.pad(h, (self.reach, 0, 0, 0))) + told))
        return h + new if self.residual else new


class PixelCNN(_PictureModel):
    r"""A gated PixelCNN for black and white pictures: each pixel given all pixels before it, in reading order.

    $$\log p(x) = \sum_i \log p(x_i \mid x_1, \dots, x_{i-1}), \qquad
      p(x_i = 1 \mid x_1, \dots, x_{i-1}) = \operatorname{sigmoid}(\ell_i)$$

    for the logits $\ell$ that one call of the network gives for all pixels at once. The vertical stack begins with the
    picture moved down by one row, the horizontal one with the picture moved to the right by one pixel; no layer looks
    down or to the right, so no logit has seen its own pixel or a later one. Since the vertical stack sees *all* that is
    above, there is no blind spot. It is told the place of each pixel as two further channels (Liu et al., 2018,
    https://arxiv.org/abs/1807.03247).

    Logged once per epoch: `train_loss` and `val_loss`, in nats per picture.

    **Arguments:**

    - `shape`: (1, height, width).
    - `channels`: of each stack; `layers`: of both, at least 1. The first looks 3 pixels far, the others by turns 1, 2
      and 4.
    - `learning_rate`: Adam's, at its highest.
    - `mask`: `"A"`, or `"B"` for the mistake of letting the horizontal stack begin with the picture where it is. Each
      pixel then sees itself, and what is called a probability is none.

    Raises `ValueError` for arguments outside these ranges; the methods, for pictures of another shape or with values
    other than 0 and 1.
    """

    places: Tensor

    def __init__(
        self,
        shape: Sequence[int] = (1, 28, 28),
        *,
        channels: int = 32,
        layers: int = 6,
        learning_rate: float = 4e-3,
        mask: str = "A",
    ) -> None:
        super().__init__(shape, 2, learning_rate)
        if shape[0] != 1:
            raise ValueError(f"shape is {tuple(shape)}; the pictures have one channel, (1, height, width).")
        check_count("channels", channels)
        check_count("layers", layers)
        if mask not in ("A", "B"):
            raise ValueError(f"mask is {mask!r}; it takes 'A', or 'B' to see what goes wrong.")
        self.save_hyperparameters()
        self.to_the_right = 1 if mask == "A" else 0
        first = GatedLayer(3, 1, channels, places=3)
        others = [GatedLayer(channels, channels, channels, places=1, step=2 ** (k % 3)) for k in range(layers - 1)]
        self.layers = nn.ModuleList([first, *others])
        self.head = nn.Sequential(nn.SiLU(), nn.Conv2d(channels, channels, 1), nn.SiLU(), nn.Conv2d(channels, 1, 1))
        rows, columns = (torch.linspace(-1, 1, count) for count in shape[1:])
        self.register_buffer("places", torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None])

    def _above(self, x: Tensor) -> list[Tensor]:
        """What the rows above tell each layer of the horizontal stack; `x` may end before the picture's last row."""
        places = self.places[:, :, : x.shape[2]].expand(len(x), -1, -1, -1)
        v, told = torch.cat([F.pad(x, (0, 0, 1, -1)), places], dim=1), []
        for layer in self.layers:
            v, new = cast(GatedLayer, layer).down(v)
            told.append(new)
        return told

    def _along(self, x: Tensor, told: Sequence[Tensor]) -> Tensor:
        """The logits of the rows `x`, given what the rows above each tell."""
        h = F.pad(x, (self.to_the_right, -self.to_the_right))
        for layer, new in zip(self.layers, told, strict=True):
            h = cast(GatedLayer, layer).across(h, new)
        return self.head(h)

    def logits(self, x: Float[Tensor, "batch 1 h w"]) -> Float[Tensor, "batch 1 h w"]:
        """Return the logit of each pixel given the pixels before it."""
        return self._along(x, self._above(x))

    def pixel_log_prob(self, x: Float[Tensor, "batch 1 h w"]) -> Float[Tensor, "batch 1 h w"]:
        r"""Return $\log p(x_i \mid x_1, \dots, x_{i-1})$ for each pixel."""
        self.check_pictures(x)
        return -F.binary_cross_entropy_with_logits(self.logits(x), x, reduction="none")

    def log_prob(self, x: Float[Tensor, "batch 1 h w"]) -> Float[Tensor, " batch"]:
        r"""Return $\log p(x)$, exactly, in nats per picture."""
        return self.pixel_log_prob(x).flatten(1).sum(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Do what `log_prob` does without looking at the values, for which a GPU would have to wait."""
        return -F.binary_cross_entropy_with_logits(self.logits(x), x, reduction="none").flatten(1).sum(dim=1)

    @torch.no_grad()
    def complete(self, x: Float[Tensor, "batch 1 h w"], rows: int) -> Float[Tensor, "batch 1 h w"]:
        """Return the pictures with all but their first `rows` rows drawn anew, one pixel after the other.

        The vertical stack is computed once per row, the horizontal one once per pixel, and for one row only.
        """
        self.check_pictures(x)
        check_count("rows", rows, least=0)
        height, width = self.shape[1:]
        x = x.clone()
        x[:, :, rows:] = 0
        for i in range(rows, height):
            told = [new[:, :, i:] for new in self._above(x[:, :, : i + 1])]
            for j in range(width):
                logits = self._along(x[:, :, i : i + 1], told)
                x[:, :, i, j] = torch.bernoulli(logits[:, :, 0, j].sigmoid())
        return x

    def sample(self, n: int) -> Float[Tensor, "n 1 h w"]:
        """Return n pictures drawn from the model, values 0 and 1."""
        check_count("n", n)
        return self.complete(torch.zeros(n, *self.shape, device=self.device, dtype=cast(torch.dtype, self.dtype)), 0)


# --- the flow ---------------------------------------------------------------------------------------------------------


class Coupling(nn.Module):
    r"""An affine coupling: some coordinates are kept, and say how the others are scaled and shifted.

    With a mask $m$ of ones (kept) and zeros,

    $$y = m \odot x + (1 - m) \odot \big(x \odot e^{s(m \odot x)} + t(m \odot x)\big), \qquad
      \log \left|\det \frac{\partial y}{\partial x}\right| = \sum_i (1 - m_i)\, s_i(m \odot x)$$

    Its inverse needs no inverse of the network that gives $s$ and $t$. Source: Dinh et al. (2017), equations 7 to 9.

    **Arguments:** `network`: from x to twice as many channels (dimension 1), first the scales and then the shifts;
    `mask`: of the shape of one example, ones and zeros. The scales are kept in [-`most`, `most`] by a tanh.

    Raises `ValueError` for a mask of other numbers.
    """

    mask: Tensor

    def __init__(self, network: nn.Module, mask: Float[Tensor, "..."], most: float = 2.0) -> None:
        super().__init__()
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError("mask has values other than 0 and 1; it takes 1 for what is kept and 0 for the others.")
        check_positive("most", most)
        self.network, self.most = network, most
        self.register_buffer("mask", mask)

    def _amounts(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.network(kept).chunk(2, dim=1)
        moved = 1 - self.mask
        return moved * self.most * (scale / self.most).tanh(), moved * shift

    def forward(self, x: Float[Tensor, "batch ..."]) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, " batch"]]:
        """Return y and the logarithm of the determinant for each example."""
        scale, shift = self._amounts(self.mask * x)
        return x * scale.exp() + shift, scale.flatten(1).sum(dim=1)  # where x is kept both are 0

    def inverse(self, y: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the x that leads to y."""
        scale, shift = self._amounts(self.mask * y)
        return (y - shift) * (-scale).exp()


class Flow(nn.Module):
    r"""A chain of invertible layers $f$ that leads from data x to standard normal z.

    $$\log p(x) = \log \mathcal N\big(f(x); 0, I\big) + \log \left|\det \frac{\partial f}{\partial x}\right|$$

    **Arguments:** `layers`: modules whose `forward` gives y and the logarithm of the determinant, and that have an
    `inverse`.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Float[Tensor, "batch ..."]) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, " batch"]]:
        """Return z and the logarithm of the determinant for each example."""
        log_det = torch.zeros(len(x), device=x.device, dtype=x.dtype)
        for layer in self.layers:
            x, more = layer(x)
            log_det = log_det + more
        return x, log_det

    def inverse(self, z: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the x that leads to z."""
        for layer in reversed(self.layers):
            z = cast(Coupling, layer).inverse(z)
        return z

    def log_prob(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        r"""Return $\log p(x)$, exactly, in nats per example."""
        z, log_det = self(x)
        return standard_normal(z) + log_det


def standard_normal(z: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    r"""Return $\log \mathcal N(z; 0, I)$ for each example."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(dim=1)


def pixel_marginals(x: Float[Tensor, "n c h w"], levels: int, smoothing: float = 10.0) -> Float[Tensor, "levels c h w"]:
    r"""Return how often each pixel has each grey level, as probabilities.

    $$\pi_{il} = \frac{n_{il} + \alpha\, g_l}{n + \alpha}$$

    for the pixel $i$ and the level $l$ with the count $n_{il}$ in n pictures; $g_l$ is the share of the level $l$ among
    all pixels, and $\alpha$ = `smoothing` says how many pictures it counts for, so that no level is impossible.

    Raises `ValueError` for fewer than 2 levels and a smoothing that is not positive.
    """
    check_count("levels", levels, least=2)
    check_positive("smoothing", smoothing)
    index = (x * (levels - 1)).round().long()
    counts = torch.stack([(index == level).sum(dim=0) for level in range(levels)]).to(x)
    # One picture more, in which every level is equally frequent: for levels that no pixel has.
    overall = counts.flatten(1).sum(dim=1) + counts[0].numel() / levels
    overall = (overall / overall.sum())[:, None, None, None]
    return (counts + smoothing * overall) / (len(x) + smoothing)


class _CouplingNetwork(nn.Sequential):
    """Scales and shifts for a map of `channels` × h × w; at first all are 0."""

    def __init__(self, channels: int, size: tuple[int, int], width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1),
            _PerPlace(width, size),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * channels, 3, padding=1),
        )
        last = cast(nn.Conv2d, self[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(cast(Tensor, last.bias))


class _PerPlace(nn.Module):
    """A number for each channel and each place, learnt and added: a convolution does not know where it is."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.added = nn.Parameter(torch.zeros(channels, *size))

    def forward(self, h: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        return h + self.added


class RealNVP(_PictureModel):
    r"""A normalising flow for pictures whose pixels have a fixed number of levels.

    A flow gives densities, and grey levels are whole numbers. So each level gets an interval, and a pixel a random
    place in it (*uniform dequantisation*; Theis et al., 2016). The intervals of a pixel fill [0, 1]: that of the level
    $l$ has the length $\pi_l$, the level's probability at this pixel (`pixel_marginals`). With $u$ uniform in the
    interval and the distribution function $\Phi$ of the standard normal, $v = \Phi^{-1}(u)$ is a number for which the
    couplings give a density $p(v)$. The probability of the picture is the integral of $p$ over all v that belong to
    it, which is

    $$P(x) = \mathbb E_u\!\left[\frac{p(v)}{\mathcal N(v; 0, I)}\right] \prod_i \pi_{i, x_i}, \qquad
      \log P(x) \ge \mathbb E_u\big[\log p(v) - \log \mathcal N(v; 0, I)\big] + \sum_i \log \pi_{i, x_i}$$

    by Jensen's inequality. The last sum is the model in which all pixels are independent; with couplings that do
    nothing the rest is 0. Several draws of u tighten the bound, see `bound`.

    The pictures are folded into patches of 4×4 pixels (2×2, or none, where the size asks for it), whose pixels become
    channels. The masks alternate: a chessboard, its opposite, every other row, its opposite, and so on.

    Logged once per epoch: `train_loss` and `val_loss`, the bound with one draw, its sign flipped, in nats per picture.

    **Arguments:**

    - `marginals`: $\pi$, of the shape (levels, channels, height, width).
    - `couplings`: how many; `width`: channels inside their networks; `learning_rate`: Adam's, at its highest.

    Raises `ValueError` for marginals that are not positive or do not sum to 1, for the others below 1; the methods, for
    pictures of another shape or with values between the levels.
    """

    edges: Tensor

    def __init__(
        self,
        marginals: Float[Tensor, "levels c h w"],
        *,
        couplings: int = 8,
        width: int = 64,
        learning_rate: float = 2e-3,
    ) -> None:
        if marginals.ndim != 4:
            raise ValueError(f"marginals has the shape {tuple(marginals.shape)}; it takes (levels, c, h, w).")
        super().__init__(marginals.shape[1:], len(marginals), learning_rate)
        check_count("couplings", couplings)
        check_count("width", width)
        if not (marginals > 0).all() or float((marginals.sum(dim=0) - 1).abs().max()) > 1e-3:
            raise ValueError("marginals takes probabilities above 0 that sum to 1 over the levels.")
        self.save_hyperparameters(ignore=["marginals"])
        edges = torch.cat([torch.zeros(1, *self.shape), marginals.cumsum(dim=0)])
        self.register_buffer("edges", edges / edges[-1])
        channels, height, columns = self.shape
        self.patch = next(side for side in (4, 2, 1) if height % side == columns % side == 0)
        folded = channels * self.patch**2
        size = height // self.patch, columns // self.patch
        self.flow = Flow(
            [
                Coupling(
                    _CouplingNetwork(folded, size, width),
                    F.pixel_unshuffle(_mask(number, self.shape), self.patch),
                )
                for number in range(couplings)
            ]
        )

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **options: Any) -> Any:  # type: ignore[override]
        """Return the model of a checkpoint that Lightning wrote; `options` as in Lightning."""
        edges = training.read_checkpoint(checkpoint_path).get("state_dict", {}).get("edges")
        if edges is not None:
            options = {"marginals": edges.diff(dim=0), **options}
        return super().load_from_checkpoint(checkpoint_path, **{"weights_only": True, **options})

    def on_fit_start(self) -> None:
        """Refuse numbers of 16 bits, in which short intervals would vanish."""
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"precision gives the flow {self.dtype}; it takes '32-true' or '64-true', or a mixed one.")

    def forward(self, x: Tensor) -> Tensor:
        """Return the bound with one draw of u, without looking at the values of the pictures."""
        level = (x * (self.levels - 1)).round().long()
        # The ends of the interval of each pixel's level.
        low, high = (edges.gather(0, level) for edges in (self.edges[:-1], self.edges[1:]))
        v = torch.special.ndtri((low + (high - low) * torch.rand_like(x)).clamp(1e-6, 1 - 1e-6))
        gain = self.flow.log_prob(F.pixel_unshuffle(v, self.patch)) - standard_normal(v)
        return gain + (high - low).log().flatten(1).sum(dim=1)

    @torch.no_grad()
    def bound(self, x: Float[Tensor, "batch c h w"], k: int = 1) -> Float[Tensor, " batch"]:
        r"""Return a lower bound on $\log P(x)$, in nats per picture, from k draws of u.

        $$\log P(x) \ge \mathbb E\Big[\log \frac1k \sum_{j=1}^k \frac{p(v_j)}{\mathcal N(v_j; 0, I)}
          \prod_i \pi_{i, x_i}\Big]$$

        It grows with k (Burda et al., 2016, https://arxiv.org/abs/1509.00519). Raises `ValueError` for k below 1.
        """
        self.check_pictures(x)
        check_count("k", k)
        return torch.stack([self(x) for _ in range(k)]).logsumexp(dim=0) - math.log(k)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Return the pictures that standard normal numbers lead to, values in [0, 1]: one pass through the inverse."""
        v = F.pixel_shuffle(self.flow.inverse(F.pixel_unshuffle(z, self.patch)), self.patch)
        return (torch.special.ndtr(v)[:, None] > self.edges[1:-1]).sum(dim=1).to(z) / (self.levels - 1)

    def sample(self, n: int) -> Float[Tensor, "n c h w"]:
        """Return n pictures drawn from the model."""
        check_count("n", n)
        return self.decode(torch.randn(n, *self.shape, device=self.device, dtype=cast(torch.dtype, self.dtype)))


def _mask(number: int, shape: Sequence[int]) -> Tensor:
    """The number-th mask of pixels: a chessboard, its opposite, rows, their opposite, columns, their opposite, …"""
    rows, columns = torch.arange(shape[1])[:, None], torch.arange(shape[2])
    kinds = (rows + columns, rows + 0 * columns, 0 * rows + columns)
    return ((kinds[number // 2 % 3] + number) % 2).float().expand(*shape)


# --- the models of the chapters ---------------------------------------------------------------------------------------


def recipe(profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the PixelCNN, as plain values: `data`, `model` and `fit` settings and the seed.

    Raises `ValueError` for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    return {
        "data": {"name": "binary_digits", "batch_size": {"smoke": 100, "cpu": 10, "gpu": 32}[profile]},
        "model": {
            "channels": {"smoke": 4, "cpu": 32, "gpu": 64}[profile],
            "layers": {"smoke": 2, "cpu": 6, "gpu": 10}[profile],
            "learning_rate": {"smoke": 3e-3, "cpu": 3e-3, "gpu": 2e-3}[profile],
        },
        "fit": {"max_epochs": {"smoke": 1, "cpu": 5, "gpu": 30}[profile], "seed": 0},
    }


def train(profile: str = "auto") -> tuple[PixelCNN, dict[str, list[float]]]:
    """Train the PixelCNN by its recipe and put it into the cache; return it with its curve (see `training.fit`)."""
    model, history = training.trained_by(recipe(profile), "pixelcnn", PixelCNN, ImageData, retrain=True)
    return cast(PixelCNN, model), history


def pretrained(profile: str = "auto") -> PixelCNN:
    """Return the PixelCNN of the recipe: from the cache, else trained first (see `training.trained_by`)."""
    return cast(PixelCNN, training.trained_by(recipe(profile), "pixelcnn", PixelCNN, ImageData)[0])


def build_flow(name: str, levels: int, **settings: Any) -> RealNVP:
    """Return a new `RealNVP` with the marginals of a data set's training pictures; weights from the global seed."""
    return RealNVP(pixel_marginals(load_images(name)[0], levels), **settings)


def flow_recipe(levels: int = 2, profile: str = "auto") -> dict[str, Any]:
    """Return all that decides the flow on the binary digits (2 levels) or on the grey ones (256), as `recipe` does.

    Raises `ValueError` for another number of levels and for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    names = {2: "binary_digits", 256: "digits"}
    if levels not in names:
        raise ValueError(f"levels is {levels}; it takes 2, for the binary digits, or 256, for the grey ones.")
    return {
        "data": {"name": names[levels], "batch_size": {"smoke": 100, "cpu": 50, "gpu": 100}[profile]},
        "model": {
            "name": names[levels],
            "levels": levels,
            "couplings": {"smoke": 2, "cpu": 8, "gpu": 16}[profile],
            "width": {"smoke": 8, "cpu": 64, "gpu": 128}[profile],
            "learning_rate": {"smoke": 2e-3, "cpu": 2e-3, "gpu": 1e-3}[profile],
        },
        "fit": {"max_epochs": {"smoke": 1, "cpu": 15 if levels == 2 else 6, "gpu": 100}[profile], "seed": 0},
    }


def train_flow(levels: int = 2, profile: str = "auto") -> tuple[RealNVP, dict[str, list[float]]]:
    """Train a flow by its recipe and put it into the cache; return it with its curve (see `training.fit`)."""
    wanted = flow_recipe(levels, profile)
    model, history = training.trained_by(wanted, "realnvp", build_flow, ImageData, retrain=True)
    return cast(RealNVP, model), history


def pretrained_flow(levels: int = 2, profile: str = "auto") -> RealNVP:
    """Return the flow of the recipe: from the cache, else trained first (see `training.trained_by`)."""
    return cast(RealNVP, training.trained_by(flow_recipe(levels, profile), "realnvp", build_flow, ImageData)[0])
