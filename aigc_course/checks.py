"""Checks that several modules make; each raises an error that says what would have been right."""

import contextlib
from collections.abc import Iterator
from numbers import Integral, Real

import torch
from torch import Tensor


@contextlib.contextmanager
def importing_extra(name: str) -> Iterator[None]:
    """Say which extra of the package brings a module, where an import in the `with` block does not find it.

    Raises `ModuleNotFoundError`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: it comes with an extra of this package. "
            f'Install it with: pip install "aigc-course[{name}]"',
            name=error.name,
        ) from error


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise unless `value` is a whole number, Python's or NumPy's, and at least `least`; True is not a number here."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; it takes a whole number ≥ {least}.")


def check_positive(name: str, value: float) -> None:
    """Raise unless `value` is a number, Python's or NumPy's, above 0 (NaN is not)."""
    if isinstance(value, bool) or not isinstance(value, Real) or not value > 0:
        raise ValueError(f"{name} is {value!r}; it takes a number above 0.")


def check_not_negative(name: str, value: float) -> None:
    """Raise unless `value` is a number, Python's or NumPy's, and at least 0 (NaN is not)."""
    if isinstance(value, bool) or not isinstance(value, Real) or not value >= 0:
        raise ValueError(f"{name} is {value!r}; it takes a number ≥ 0.")


def check_tokens(tokens: Tensor, vocab_size: int) -> None:
    """Raise unless `tokens`, of any shape, are whole numbers from 0 to `vocab_size` - 1."""
    whole = not tokens.is_floating_point()
    if not (whole and (tokens.numel() == 0 or (tokens.min() >= 0 and tokens.max() < vocab_size))):
        values = f"values from {tokens.min()} to {tokens.max()}" if tokens.numel() else "no values"
        raise ValueError(
            f"the tokens have {values} and the type {tokens.dtype}; it takes whole numbers from 0 to {vocab_size - 1}."
        )


def check_pictures(x: Tensor, shape: tuple[int, ...], hint: str = "") -> None:
    """Raise unless x is a batch of pictures of this shape with values in [0, 1]; `hint` ends the message."""
    if x.ndim != 4 or tuple(x.shape[1:]) != shape or x.shape[0] == 0:  # len() would be a fixed number in an export
        raise ValueError(
            f"x has the shape {tuple(x.shape)}; it takes (batch, {', '.join(map(str, shape))}) with a batch "
            f"of at least 1.{hint}"
        )
    check_unit_range("x", x)


# What a model says whose class takes the pictures' shape.
OTHER_SHAPES = " Other pictures need a model that is built with their shape=(channels, height, width)."


def check_unit_range(name: str, values: Tensor) -> None:
    """Raise unless all `values` are in [0, 1] (NaN is not); in an export there are no values to look at."""
    if torch.compiler.is_compiling():
        return
    low, high = float(values.detach().min()), float(values.detach().max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} has values from {low:.3g} to {high:.3g}; it takes values in [0, 1].")
