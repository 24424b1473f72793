"""Two functions of tensors that several modules use."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def one_hot(labels: Int[Tensor, " n"] | None, num_classes: int, like: Tensor) -> Float[Tensor, "n classes"]:
    """Return labels as rows of zeros with a single 1, typed as `like`; without classes the rows are empty.

    Raises `ValueError` if there are classes and no labels.
    """
    if not num_classes:
        return like.new_zeros(like.shape[0], 0)  # len() would be a fixed number in an export
    if labels is None:
        raise ValueError(f"labels are missing, and the network has {num_classes} classes; give one for each example.")
    return F.one_hot(labels, num_classes).to(like.dtype)


def distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Return the Euclidean distances of all rows of `x` from all rows of `y`; equal rows are exactly 0 apart.

    The faster way by a matrix product leaves rounding errors, the larger the farther the rows are from the origin.
    """
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
