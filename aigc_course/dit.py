r"""Diffusion transformers, and diffusion in the latent space of an autoencoder.

Two networks for `diffusion.Diffusion`, with the signature of `diffusion.UNet`: `DiT` reads a picture as a sequence of
patches, `LatentNetwork` reads vectors. In both, time and class enter by adaptive layer normalisation. Sources: Peebles
and Xie (2023), https://arxiv.org/abs/2212.09748; Rombach et al. (2022), https://arxiv.org/abs/2112.10752.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import diffusion
from aigc_course.checks import check_count
from aigc_course.tensors import one_hot

# --- a picture as a sequence ------------------------------------------------------------------------------------------


def patchify(x: Float[Tensor, "batch c h w"], patch: int) -> Float[Tensor, "batch tokens numbers"]:
    """Return the squares of `patch` × `patch` pixels in reading order, each as c × patch² numbers.

    Raises `ValueError` for a height or width that is not a multiple of `patch`.
    """
    _check_patch(x.shape[1:], patch)
    return F.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def unpatchify(
    tokens: Float[Tensor, "batch tokens numbers"], patch: int, shape: Sequence[int]
) -> Float[Tensor, "batch c h w"]:
    """Return the pictures of the shape (c, h, w) whose patches these are: the inverse of `patchify`.

    Raises `ValueError` for a height or width that is not a multiple of `patch`, and for another number of tokens.
    """
    _check_patch(shape, patch)
    rows, columns = shape[1] // patch, shape[2] // patch
    wanted = (rows * columns, shape[0] * patch**2)
    if tuple(tokens.shape[1:]) != wanted:
        raise ValueError(
            f"the tokens have the shape {tuple(tokens.shape[1:])}; pictures of the shape {tuple(shape)} in patches of "
            f"{patch} × {patch} take {wanted}."
        )
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (rows, columns)), patch)


def _check_patch(shape: Sequence[int], patch: int) -> None:
    check_count("patch", patch)
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(f"the pictures have {shape[1]} × {shape[2]} pixels; patch = {patch} takes multiples of it.")


def grid_positions(rows: int, columns: int, width: int) -> Float[Tensor, "tokens width"]:
    r"""Return a vector of `width` numbers for each place of a grid, in reading order.

    One half is made of the row, the other of the column: for each of width / 4 frequencies
    $\omega_i = 10000^{-4i / \text{width}}$, the sine and the cosine of $\omega_i$ times its number. Source: Vaswani et
    al. (2017), https://arxiv.org/abs/1706.03762, in two dimensions as in the DiT.

    Raises `ValueError` for a width that is not a multiple of 4, and for a grid without places.
    """
    check_count("rows", rows)
    check_count("columns", columns)
    check_count("width", width, least=4)
    if width % 4:
        raise ValueError(f"width is {width}; a sine and a cosine for row and column take a multiple of 4.")
    frequencies = 10_000.0 ** (-4 / width * torch.arange(width // 4))
    row, column = (
        torch.cat([angles.sin(), angles.cos()], dim=1)
        for angles in (torch.outer(torch.arange(float(count)), frequencies) for count in (rows, columns))
    )
    return torch.cat([row.repeat_interleave(columns, dim=0), column.repeat(rows, 1)], dim=1)


# --- how time and class get in ----------------------------------------------------------------------------------------


class Condition(nn.Module):
    """From times and labels to one vector of `width` numbers per example, by two linear layers.

    The label `num_classes` says that the class is not told; so do labels that are not given.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.width, self.num_classes = width, num_classes
        self.inputs = num_classes + 1 if num_classes else 0
        self.layers = nn.Sequential(nn.Linear(width + self.inputs, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Float[Tensor, " batch"], labels: Int[Tensor, " batch"] | None) -> Float[Tensor, "batch width"]:
        """Raise `ValueError` for labels out of range."""
        if self.num_classes and labels is None:
            labels = torch.full((len(t),), self.num_classes, device=t.device)
        if labels is not None and self.num_classes and not torch.compiler.is_compiling():
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high > self.num_classes:
                raise ValueError(
                    f"labels run from {low} to {high}; the network knows 0 to {self.num_classes - 1}, and "
                    f"{self.num_classes} for a class that is not told."
                )
        # As large as the features of time.
        told = one_hot(labels, self.inputs, t) * (self.width / 2) ** 0.5
        waves = diffusion.time_features(t, self.width)
        return F.silu(self.layers(torch.cat([waves, told], dim=1)))


class Modulation(nn.Module):
    r"""The amounts that a vector $c$ of time and class gives to the branches of a block: adaLN.

    For each branch $f$ of a block, gain $\gamma$, shift $\delta$ and gate $\alpha$ are linear functions of $c$, and

    $$h \leftarrow h + \alpha(c) \odot f\big((1 + \gamma(c)) \odot \text{norm}(h) + \delta(c)\big),$$

    where the normalisation has no weights of its own. At first $\gamma = \delta = 0$ and $\alpha$ is `gate` for every
    $c$. With 0 the block hands its input on: adaLN-zero. Source: Peebles and Xie (2023), section 3.2.
    """

    def __init__(self, width: int, branches: int, gate: float) -> None:
        super().__init__()
        self.branches = branches
        self.amounts = _zeroed(nn.Linear(width, 3 * branches * width))
        with torch.no_grad():
            self.amounts.bias.view(branches, 3, width)[:, 2] = gate

    def forward(self, given: Float[Tensor, "batch width"]) -> Float[Tensor, "branches 3 batch width"]:
        """Return gain, shift and gate for each branch."""
        return self.amounts(given).unflatten(1, (self.branches, 3, -1)).movedim(0, 2)


def modulated(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    r"""Return $(1 + \gamma) \odot \text{norm}(x) + \delta$; each vector of x is normalised for itself."""
    return F.layer_norm(x, x.shape[-1:]) * (1 + gain) + shift


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


# --- the transformer --------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Attention among all tokens, without a mask, then a layer for each token; both modulated and gated."""

    def __init__(self, width: int, heads: int, gate: float) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = Modulation(width, 2, gate)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(
        self, x: Float[Tensor, "batch tokens width"], given: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the tokens, each with what the two branches add to it."""
        first, second = self.modulation(given)[..., None, :].unbind(0)
        x = x + first[2] * self.attend(modulated(x, first[0], first[1]))
        return x + second[2] * self.mlp(modulated(x, second[0], second[1]))

    def attend(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Return what each token gathers from all tokens."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # batch, heads, tokens, …
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class DiT(nn.Module):
    r"""A diffusion transformer: a picture becomes a sequence of patches, which attend to each other, and pixels again.

    Source: Peebles and Xie (2023), https://arxiv.org/abs/2212.09748; patches as tokens: Dosovitskiy et al. (2021),
    https://arxiv.org/abs/2010.11929.

    **Arguments:**

    - `shape`: (colours, height, width); height and width divisible by `patch`.
    - `width`: numbers per token, divisible by 4 and by `heads`.
    - `depth`: number of blocks.
    - `heads`: of attention.
    - `patch`: height and width of a patch in pixels.
    - `num_classes`: of labels; 0 for none. With classes the network knows one more label, `num_classes` itself, which
      means that the class is not told.
    - `gate`: the value with which the gates begin; 0 is adaLN-zero.

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 96,
        depth: int = 4,
        heads: int = 4,
        patch: int = 4,
        num_classes: int = 0,
        gate: float = 0.0,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"shape is {tuple(shape)}; it takes (colours, height, width).")
        for name, value in zip(("colours", "height", "width of the pictures"), shape, strict=True):
            check_count(name, value)
        _check_patch(shape, patch)
        check_count("depth", depth)
        check_count("heads", heads)
        check_count("num_classes", num_classes, least=0)
        positions = grid_positions(shape[1] // patch, shape[2] // patch, width)
        if width % heads:
            raise ValueError(f"width is {width}, which {heads} heads cannot share; it takes a multiple of {heads}.")
        if not math.isfinite(gate):
            raise ValueError(f"gate is {gate}; it takes a finite number.")
        self.arguments: dict[str, Any] = {
            "shape": list(shape),
            "width": width,
            "depth": depth,
            "heads": heads,
            "patch": patch,
            "num_classes": num_classes,
            "gate": gate,
        }
        self.shape, self.patch, self.num_classes = tuple(shape), patch, num_classes
        self.register_buffer("positions", positions, persistent=False)
        self.condition = Condition(width, num_classes)
        self.embed = nn.Linear(shape[0] * patch**2, width)
        self.blocks = nn.ModuleList(Block(width, heads, gate) for _ in range(depth))
        self.last_amounts = _zeroed(nn.Linear(width, 2 * width))
        self.last = _zeroed(nn.Linear(width, shape[0] * patch**2))

    def forward(
        self,
        x: Float[Tensor, "batch c h w"],
        t: Float[Tensor, " batch"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch c h w"]:
        """Return one number per pixel; without labels, as for examples whose class is not told.

        Raises `ValueError` for pictures of another shape and for labels out of range.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"x has the shape {tuple(x.shape)}; it takes (batch, {', '.join(map(str, self.shape))}).")
        given = self.condition(t.to(x), labels)
        h = self.embed(patchify(x, self.patch)) + cast(Tensor, self.positions)
        for block in self.blocks:
            h = block(h, given)
        gain, shift = self.last_amounts(given)[:, None].chunk(2, dim=-1)
        return unpatchify(self.last(modulated(h, gain, shift)), self.patch, self.shape)


# --- for vectors ------------------------------------------------------------------------------------------------------


class LatentNetwork(nn.Module):
    """A residual network for vectors, such as the codes of an autoencoder; time and class enter as in the `DiT`.

    **Arguments:**

    - `latent_dim`: numbers of an example.
    - `width`: numbers in the residual stream, even.
    - `depth`: number of blocks, each of two layers.
    - `num_classes`: of labels; 0 for none. As in the `DiT`, one more label means that the class is not told.

    Raises `ValueError` for arguments outside these ranges.
    """

    def __init__(self, latent_dim: int, width: int = 128, depth: int = 3, num_classes: int = 0) -> None:
        super().__init__()
        check_count("latent_dim", latent_dim)
        check_count("width", width, least=2)
        if width % 2:
            raise ValueError(f"width is {width}; a sine and a cosine of time take an even number.")
        check_count("depth", depth)
        check_count("num_classes", num_classes, least=0)
        self.arguments = {"latent_dim": latent_dim, "width": width, "depth": depth, "num_classes": num_classes}
        self.shape, self.num_classes = (latent_dim,), num_classes
        self.condition = Condition(width, num_classes)
        self.embed = nn.Linear(latent_dim, width)
        self.modulations = nn.ModuleList(Modulation(width, 1, gate=0.0) for _ in range(depth))
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)) for _ in range(depth)
        )
        self.last = _zeroed(nn.Linear(width, latent_dim))

    def forward(
        self,
        x: Float[Tensor, "batch latent"],
        t: Float[Tensor, " batch"],
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch latent"]:
        """Return as many numbers as an example has; without labels, as for examples whose class is not told.

        Raises `ValueError` for examples of another size and for labels out of range.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"x has the shape {tuple(x.shape)}; it takes (batch, {self.shape[0]}).")
        given, h = self.condition(t.to(x), labels), self.embed(x)
        for modulation, branch in zip(self.modulations, self.branches, strict=True):
            gain, shift, gate = modulation(given)[0]
            h = h + gate * branch(modulated(h, gain, shift))
        return self.last(F.layer_norm(h, h.shape[-1:]))


class Diffusion(diffusion.Diffusion):
    """`diffusion.Diffusion`, which see, with checkpoints that know the networks of this module too."""

    network_classes = (diffusion.UNet, DiT, LatentNetwork)  # type: ignore[assignment]
