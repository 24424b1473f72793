r"""Adapters: a frozen model with a low-rank correction beside every linear layer of its blocks, and back.

Source: Hu et al. (2021), LoRA, https://arxiv.org/abs/2106.09685.
"""

import copy
import math
from typing import TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course.checks import check_count, check_positive

# A `gpt.GPT`: it has `blocks`, and notes its adapters in `adapters`.
Model = TypeVar("Model", bound=nn.Module)


class LowRankLinear(nn.Module):
    r"""A frozen linear layer and a low-rank correction that is trained: $y = W x + b + \frac{\alpha}{r} B A x$.

    $A$ has shape (rank, inputs) and begins at random, $B$ has shape (outputs, rank) and begins at 0, so that at first
    nothing changes.
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
        """Return a linear layer that computes the same at the old cost; this one stays as it is."""
        layer = copy.deepcopy(self.linear)  # a new one would draw weights, and shift all random numbers after it
        layer.weight += self.scale * self.up @ self.down
        return layer.requires_grad_(True)


def add_adapters(model: Model, rank: int, *, alpha: float | None = None) -> Model:
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
    for parent in list(cast(nn.Module, model.blocks).modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, LowRankLinear(child, rank, alpha))
    model.adapters = {"rank": rank, "alpha": alpha}  # type: ignore[assignment]
    return model


def merge_adapters(model: Model) -> Model:
    """Add every correction to the layer beside it, take the adapters away, unfreeze the model; return it."""
    for parent in list(cast(nn.Module, model.blocks).modules()):
        for name, child in parent.named_children():
            if isinstance(child, LowRankLinear):
                setattr(parent, name, child.merged())
    model.adapters = {}  # type: ignore[assignment]
    return model.requires_grad_(True)
