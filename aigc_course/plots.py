"""Plots that look alike in every chapter, readable on a phone, in the dark, and to colour-blind eyes."""

import sys
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from aigc_course.checks import check_unit_range

# Okabe and Ito's palette without its yellow, which vanishes on white; instead a dark brown, and for the ninth and tenth
# class a dark grey and a dark purple. A test simulates the three common forms of colour blindness.
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#682800", "#000000", "#606060", "#5E2B97",
)  # fmt: skip


def use_style() -> None:
    """Set matplotlib's defaults for the chapter: size, letters, colours, and twice the resolution in a notebook."""
    mpl.rcParams.update(
        {
            "figure.figsize": (6.0, 3.4),
            "figure.dpi": 100,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "lines.linewidth": 2,
            "legend.frameon": False,
            "image.cmap": "gray",
        }
    )
    if "ipykernel" in sys.modules:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


def image_grid(
    images: Float[Tensor, "n c h w"],
    *,
    columns: int = 8,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> Figure:
    """Draw pictures with values in [0, 1] as a grid, row by row.

    **Arguments:** `columns` from 1 to 8, since more cannot be read on a phone (a manifold of 12 or 20 tiny digits is
    drawn by its chapter); the labels stand left of the rows and above the columns.

    Raises `ValueError` for another number of columns, for no pictures, and for values outside [0, 1].
    """
    if not 1 <= columns <= 8:
        raise ValueError(f"columns is {columns}; it takes 1 to 8.")
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images has the shape {tuple(images.shape)}; it takes (n, c, h, w) with n of at least 1.")
    images = images.detach().cpu()
    check_unit_range("images", images)
    height, width = images.shape[2:]
    rows = -(-len(images) // columns)
    sheet = make_grid(images, nrow=columns, padding=1, pad_value=0.5).permute(1, 2, 0)
    across = min(6.0, 0.72 * columns + 0.4 + (0.9 if row_labels else 0))
    figure, ax = plt.subplots(
        figsize=(across, across * sheet.shape[0] / sheet.shape[1] + (0.3 if column_labels else 0))
    )
    ax.imshow(sheet.numpy(), vmin=0, vmax=1, interpolation="nearest")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_yticks([(height + 1) * (row + 0.5) for row in range(rows)] if row_labels else [], row_labels)
    ax.set_xticks([(width + 1) * (column + 0.5) for column in range(columns)] if column_labels else [], column_labels)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    return figure


def curves(
    history: Mapping[str, Sequence[float]], names: Sequence[str], *, ylabel: str, ax: Axes | None = None
) -> Axes:
    """Draw quantities that `training.fit` returned against the epoch, each labelled by its name.

    Raises `ValueError` for a name that the history does not have.
    """
    for name in names:
        if name not in history:
            raise ValueError(f"the history has no {name!r}; it has {', '.join(map(repr, history))}.")
    if ax is None:
        _, ax = plt.subplots()
    for name in names:
        ax.plot(
            range(1, len(history[name]) + 1), history[name], label=name, marker="o" if len(history[name]) == 1 else ""
        )
    ax.set_xlabel("epoch")
    ax.set_ylabel(ylabel)
    ax.legend()
    return ax
