"""Plots: every picture in its place, limits that keep them readable, colours that can be told apart."""

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from aigc_course import plots


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with mpl.rc_context():
        yield
    plt.close("all")


def test_grid_shows_every_picture_in_its_place() -> None:
    images = torch.linspace(0.1, 0.9, 6).view(6, 1, 1, 1).expand(6, 1, 5, 5)
    figure = plots.image_grid(images, columns=4)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape[:2] == (2 * 6 + 1, 4 * 6 + 1)  # two rows of four, a line of one pixel between and around them
    grey = drawn[..., 0] if drawn.ndim == 3 else drawn
    for number in range(6):
        row, column = divmod(number, 4)
        tile = grey[row * 6 + 1 : row * 6 + 6, column * 6 + 1 : column * 6 + 6]
        np.testing.assert_allclose(tile, float(images[number, 0, 0, 0]), atol=1e-6)
    assert figure.axes[0].images[0].get_clim() == (0, 1)  # never stretched to the values at hand


def test_grid_of_colour_and_of_one_picture() -> None:
    image = torch.rand(1, 3, 4, 6)
    drawn = np.asarray(plots.image_grid(image).axes[0].images[0].get_array())
    np.testing.assert_allclose(drawn[1:-1, 1:-1] if drawn.shape[0] > 4 else drawn, image[0].permute(1, 2, 0), atol=1e-6)


def test_grid_labels_stand_at_the_middle_of_their_row_and_column() -> None:
    figure = plots.image_grid(torch.zeros(6, 1, 5, 5), columns=3, row_labels=("a", "b"), column_labels="xyz")
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]
    assert list(ax.get_yticks()) == [3, 9]
    assert list(ax.get_xticks()) == [3, 9, 15]


@pytest.mark.parametrize("columns", range(1, 9))
def test_grid_fits_a_phone(columns: int) -> None:
    plots.use_style()
    figure = plots.image_grid(torch.zeros(16, 1, 4, 4), columns=columns)
    assert figure.get_size_inches()[0] <= 6


def test_grid_takes_tensors_with_gradients() -> None:
    plots.image_grid(torch.rand(2, 1, 4, 4).requires_grad_())


@pytest.mark.bad_input
def test_grid_refuses_what_cannot_be_read() -> None:
    images = torch.zeros(2, 1, 4, 4)
    for columns in (0, 9):
        with pytest.raises(ValueError, match=f"columns is {columns}; it takes 1 to 8"):
            plots.image_grid(images, columns=columns)
    for shape in ((4, 4), (2, 4, 4), (0, 1, 4, 4)):
        with pytest.raises(ValueError, match="images has the shape"):
            plots.image_grid(torch.zeros(shape))
    for value in (-0.1, 1.1, 255.0, torch.nan):
        with pytest.raises(ValueError, match="images has values from"):
            plots.image_grid(images + value)


def test_curves_draw_what_was_asked_for() -> None:
    history = {"train_loss": [3.0, 2.0, 1.5], "val_loss": [2.5, 2.0, 1.75], "lr": [1.0, 1.0, 1.0]}
    ax = plots.curves(history, ["train_loss", "val_loss"], ylabel="loss in nats")
    assert [line.get_label() for line in ax.lines] == ["train_loss", "val_loss"]
    for line, name in zip(ax.lines, ("train_loss", "val_loss"), strict=True):
        assert list(np.asarray(line.get_xdata())) == [1, 2, 3]
        assert list(np.asarray(line.get_ydata())) == history[name]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss in nats")
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train_loss", "val_loss"]


def test_curves_of_one_epoch_can_be_seen() -> None:
    _, ax = plt.subplots()
    assert plots.curves({"loss": [3.0]}, ["loss"], ylabel="nats", ax=ax) is ax
    assert ax.lines[0].get_marker() == "o"


@pytest.mark.bad_input
def test_curves_name_what_is_missing() -> None:
    with pytest.raises(ValueError, match="the history has no 'val_los'; it has 'train_loss', 'val_loss'"):
        plots.curves({"train_loss": [1.0], "val_loss": [1.0]}, ["train_loss", "val_los"], ylabel="nats")
    assert plt.get_fignums() == []  # no empty figure is left over


def test_style_is_legible() -> None:
    plots.use_style()
    figure, _ = plt.subplots()
    assert figure.get_size_inches()[0] <= 6
    assert mpl.rcParams["font.size"] >= 10
    assert figure.get_facecolor() == (1, 1, 1, 1)


# Linear RGB as it is seen without red, without green and without blue cones: Machado, Oliveira and Fernandes (2009).
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


@pytest.mark.parametrize("form", BLINDNESS)
def test_colours_can_be_told_apart(form: str) -> None:
    srgb = np.array([to_rgb(colour) for colour in plots.COLOURS])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ BLINDNESS[form].T, 0, 1)
    # CIELAB, where 1 is about the smallest difference that can be seen side by side, and 10 is plain at a glance.
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = seen @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert len(plots.COLOURS) == 10
    assert distance[~np.eye(10, dtype=bool)].min() > 12
    assert (lab[:, 0] < 75).all()  # dark enough for white paper
