"""What `training.fit` promises on a GPU, checked without one: no step calls what PyTorch refuses to make deterministic.

`fit` trains under `torch.use_deterministic_algorithms(True)`, where some operations raise an error, most of them only
on a GPU. So every model of the package is trained for two steps on the CPU, and all operations that PyTorch's
dispatcher is asked for are written down: those of the forward pass, of the backward pass, and of the second one that a
gradient penalty needs.
"""

import math
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from aigc_course import (
    diffusion,
    dqn,
    gan,
    gpt,
    likelihood,
    lora,
    mixture,
    recurrent,
    text_to_image,
    training,
    vae,
    vector_quantised,
)
from aigc_course.data import ImageData, RingData, TextData, random_affine

# --- what is refused -------------------------------------------------------------------------------------------------

# As the docstring of torch.use_deterministic_algorithms lists it; then the dispatcher's names, all overloads if without
# a dot; then a loss that calls one of them.
Loss = Callable[[Tensor], Tensor]
REFUSED: dict[str, tuple[str, Loss]] = {
    "torch.nn.AvgPool3d": ("avg_pool3d_backward", lambda x: F.avg_pool3d(x, 2)),
    "torch.nn.AdaptiveAvgPool2d": ("_adaptive_avg_pool2d_backward", lambda x: F.adaptive_avg_pool2d(x[0], 3)),
    "torch.nn.AdaptiveAvgPool3d": ("_adaptive_avg_pool3d_backward", lambda x: F.adaptive_avg_pool3d(x, 3)),
    "torch.nn.AdaptiveMaxPool2d": ("adaptive_max_pool2d_backward", lambda x: F.adaptive_max_pool2d(x[0], 3)),
    "torch.nn.FractionalMaxPool2d": ("fractional_max_pool2d_backward", lambda x: F.fractional_max_pool2d(x[0], 2, 2)),
    "torch.nn.FractionalMaxPool3d": ("fractional_max_pool3d_backward", lambda x: F.fractional_max_pool3d(x, 2, 2)),
    "torch.nn.MaxUnpool1d": (
        "max_unpool2d",
        lambda x: F.max_unpool1d(*F.max_pool1d(x[0, 0], 2, return_indices=True), (2,)),
    ),
    "torch.nn.MaxUnpool2d": (
        "max_unpool2d",
        lambda x: F.max_unpool2d(*F.max_pool2d(x[0], 2, return_indices=True), (2, 2)),
    ),
    "torch.nn.MaxUnpool3d": (
        "max_unpool3d",
        lambda x: F.max_unpool3d(*F.max_pool3d(x, 2, return_indices=True), (2, 2, 2)),
    ),
    "torch.nn.functional.interpolate": (
        "upsample_linear1d_backward upsample_bilinear2d_backward upsample_bicubic2d_backward "
        "upsample_trilinear3d_backward _upsample_bilinear2d_aa_backward _upsample_bicubic2d_aa_backward",
        lambda x: F.interpolate(x[0], scale_factor=2, mode="bilinear"),
    ),
    "torch.nn.ReflectionPad1d": ("reflection_pad1d_backward", lambda x: F.pad(x[0, 0], (1, 1), mode="reflect")),
    "torch.nn.ReflectionPad2d": ("reflection_pad2d_backward", lambda x: F.pad(x[0], (1,) * 4, mode="reflect")),
    "torch.nn.ReflectionPad3d": ("reflection_pad3d_backward", lambda x: F.pad(x, (1,) * 6, mode="reflect")),
    # Only with places beside the classes, (batch, classes, time): one row a prediction is reduced in a fixed order.
    "torch.nn.NLLLoss": ("nll_loss2d_forward", lambda x: F.cross_entropy(x[0, 0], torch.zeros(4, 4).long())),
    "torch.nn.CTCLoss": (
        "_ctc_loss_backward",
        lambda x: F.ctc_loss(
            x[0, 0].log_softmax(2), torch.ones(4, 2).long(), torch.tensor([4] * 4), torch.tensor([2] * 4)
        ),
    ),
    "torch.nn.EmbeddingBag": (
        "_embedding_bag_backward _embedding_bag_dense_backward",
        lambda x: F.embedding_bag(torch.zeros(1, 2).long(), x[0, 0, 0], mode="max"),
    ),
    "torch.Tensor.put_": ("put_ put", lambda x: x.clone().put_(torch.tensor([0]), torch.ones(1))),
    "torch.histc": ("histc", lambda x: x * torch.histc(x.detach(), 4).sum()),
    "torch.bincount": ("bincount", lambda x: x * torch.bincount(torch.zeros(3).long(), torch.ones(3))[0]),
    "torch.median": ("median.dim nanmedian.dim", lambda x: x.median(dim=0).values),
    "torch.nn.functional.grid_sample": (
        "grid_sampler_2d_backward grid_sampler_3d_backward cudnn_grid_sampler_backward",
        lambda x: F.grid_sample(x[0], torch.zeros(3, 2, 2, 2), align_corners=False),
    ),
    "torch.Tensor.scatter_reduce": (
        "scatter_reduce scatter_reduce_",
        lambda x: x[0, 0, 0].scatter_reduce(0, torch.zeros(4, 4).long(), x[0, 0, 1], "prod"),
    ),
    "torch.Tensor.resize_": ("", torch.sum),  # of quantised tensors: nothing here has any
    # Refused by earlier versions of PyTorch that the package can be installed with.
    "torch.cumsum": ("cumsum cumsum_", lambda x: x.cumsum(0)),
    "torch.kthvalue": ("kthvalue", lambda x: x.kthvalue(1, dim=0).values),
}
NAMES = {name for names, _ in REFUSED.values() for name in names.split()}


class Calls(TorchDispatchMode):
    """Writes down which operations are called while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        overload = str(func).removeprefix("aten.")  # for example median.dim
        self.names |= {overload, overload.partition(".")[0]}
        return func(*args, **(kwargs or {}))


def refused(calls: Calls) -> set[str]:
    assert calls.names  # were nothing written down, nothing would be refused
    return calls.names & NAMES


@pytest.mark.parametrize("entry", [entry for entry, (names, _) in REFUSED.items() if names])
def test_what_pytorch_refuses_is_found(entry: str) -> None:
    names, loss = REFUSED[entry]
    x = torch.rand(2, 3, 4, 4, 4, requires_grad=True)
    with Calls() as calls:
        loss(x).sum().backward()
    assert refused(calls) & set(names.split())


def test_nothing_is_missing_from_the_list() -> None:
    documented = str(torch.use_deterministic_algorithms.__doc__)
    (listed,) = re.findall(r"will throw a\n.*?RuntimeError` when ``mode=True``:(.*?)In addition", documented, re.DOTALL)
    entries = re.findall(r"\* :(?:class|func):`([\w.]+)`", listed)
    assert len(entries) > 15  # or the docstring is written differently now
    assert set(entries) <= set(REFUSED)


# --- the training steps ----------------------------------------------------------------------------------------------


def assert_deterministic(model: pl.LightningModule, data: pl.LightningDataModule) -> None:
    options: dict[str, Any] = {"limit_train_batches": 2, "limit_val_batches": 1, "accelerator": "cpu"}
    with Calls() as calls:
        training.fit(model, data, max_epochs=1, **options)
    assert not refused(calls), f"on a GPU {sorted(refused(calls))} would stop the training"


def digits(**options: Any) -> ImageData:
    return ImageData("digits", batch_size=8, **options)


AUGMENTATION = {"rotate": 20.0, "shift": 2.0, "scale": 0.1}


@pytest.mark.parametrize("loss", gan.LOSSES)
@pytest.mark.parametrize("normalisation", ["batch", "spectral", "none"])
@pytest.mark.parametrize("ways", [None, ("batch_norm", "projection"), ("concatenation", "concatenation")])
def test_convolutional_gans(loss: str, normalisation: str, ways: tuple[str, str] | None) -> None:
    network: dict[str, Any] = {"shape": (1, 28, 28), "channels": 2, "hidden": 4}
    labels: list[dict[str, Any]] = [{"num_classes": 10, "conditioning": way} for way in ways] if ways else [{}, {}]
    penalty = 0.0 if normalisation == "batch" else 10.0
    model = gan.GAN(
        gan.ConvGenerator(4, **network, **labels[0]),
        gan.ConvDiscriminator(normalisation=normalisation, **network, **labels[1]),
        loss=loss,
        penalty=penalty,
        r1=penalty,
        ema_decay=0.9,
        cool_down=0.5,
        augmentation=AUGMENTATION,
    )
    if penalty or loss != "wasserstein":
        assert_deterministic(model, digits(signed=True))


@pytest.mark.parametrize("prediction", diffusion.PREDICTIONS)
def test_diffusion(prediction: str) -> None:
    model = diffusion.Diffusion(diffusion.UNet((1, 28, 28), 8, 10), path="linear", prediction=prediction)
    assert_deterministic(model, digits(signed=True))


def test_exact_likelihoods() -> None:
    data = ImageData("binary_digits", batch_size=8)
    assert_deterministic(likelihood.PixelCNN(channels=2, layers=2), data)
    assert_deterministic(likelihood.build_flow("binary_digits", 2, couplings=2, width=2), data)


@pytest.mark.parametrize("loss", gan.LOSSES)
@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("r1", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 28, 28), (2,)])
def test_dense_gans(loss: str, spectral: bool, r1: float, shape: tuple[int, ...]) -> None:
    pictures = len(shape) == 3
    players = (
        gan.DenseGenerator(4, shape, width=4, normalise=pictures),
        gan.DenseDiscriminator(shape, spectral=spectral),
    )
    options: dict[str, Any] = {"discriminator_steps": 2, "augmentation": AUGMENTATION if pictures else None}
    model = gan.GAN(*players, loss=loss, r1=r1, **options)
    assert_deterministic(model, digits(signed=True) if pictures else RingData(batch_size=8))


@pytest.mark.parametrize(
    "build",
    [vae.Autoencoder, vae.VAE, lambda *args, **options: vae.VAE(*args, num_classes=10, beta=0.5, **options)],
    ids=["autoencoder", "vae", "conditional"],
)
def test_autoencoders(build: Callable[..., pl.LightningModule]) -> None:
    assert_deterministic(build(2, channels=2, width=4), digits(**AUGMENTATION))


def test_vector_quantised_autoencoders() -> None:
    assert_deterministic(vector_quantised.VQVAE(5, 3, channels=2), digits(**AUGMENTATION))


def gpts() -> dict[str, dict[str, Any]]:
    """The defaults, GPT-2's choices, and each default changed by itself."""
    flipped: dict[str, Any] = {name: choices[1] for name, choices in gpt.CHOICES.items()}
    flipped |= {"normalise_queries": False, "zero_output": True, "bias": True, "tied": False, "dropout": 0.5}
    return {"defaults": {}, "gpt2": gpt.GPT2, **{name: {name: value} for name, value in flipped.items()}}


@pytest.fixture(scope="module")
def windows() -> TextData:
    return TextData(context=8, batch_size=4, limit=500)


@pytest.mark.parametrize("options", gpts().values(), ids=gpts())
@pytest.mark.parametrize("adapters", [False, True], ids=["whole", "adapters"])
def test_gpts(options: dict[str, Any], adapters: bool, windows: TextData) -> None:
    training_ = gpt.build(vocab_size=windows.tokenizer.vocab_size, context=8, layers=2, heads=2, width=8, **options)
    if adapters:
        lora.add_adapters(training_.model, 2)
    assert_deterministic(training_, windows)


@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_models(layers: int) -> None:
    data = recurrent.StreamData(batch_size=4, chunk=8)
    options: dict[str, Any] = {"width": 4, "layers": layers, "dropout": 0.5}
    assert_deterministic(recurrent.RecurrentLanguageModel(data.tokenizer.vocab_size, **options), data)


@pytest.mark.parametrize("game", ["CartPole-v1", "MinAtar/Breakout-v1"])
@pytest.mark.parametrize(
    "options", [{}, {"double": False, "huber": False, "clip": 0.0, "decay": True}], ids=["new", "old"]
)
@pytest.mark.parametrize("dueling", [False, True])
def test_agents(game: str, options: dict[str, Any], dueling: bool) -> None:
    games = dqn.Games(game, count=2, capacity=100, chunks=2, evaluation_episodes=1)
    network = dqn.ConvQNetwork if len(games.shape) == 3 else dqn.DenseQNetwork
    short: dict[str, Any] = {
        "steps": 8,
        "updates": 2,
        "batch_size": 4,
        "learning_starts": 8,
        "target_interval": 1,
        "ema_decay": 0.5,
    }
    agent = dqn.DQN(network(games.shape, games.actions, dueling=dueling), **short, **options)
    assert_deterministic(agent, games)
    assert agent.updates_done


@pytest.mark.parametrize("name", text_to_image.MODELS)
def test_models_of_captions(name: str) -> None:
    recipe = text_to_image.recipe(name, "smoke")
    data = text_to_image.SceneData(**recipe["data"])
    for split in ("train", "validation"):
        data.split(split)  # composed now: that is done on the CPU, wherever the training is
    assert_deterministic(text_to_image.BUILDERS[name](**recipe["model"]), data)


def test_mixtures() -> None:
    points = torch.randn(32, 2)
    model = mixture.GradientMixture(mixture.initialise(points, 2))
    assert_deterministic(model, mixture.PointData(points, points, batch_size=8))


def test_a_model_that_a_gpu_would_stop_is_found() -> None:
    class Resampled(vae.Autoencoder):
        def forward(self, x: Tensor) -> Tensor:
            grid = F.affine_grid(torch.eye(2, 3).expand(len(x), -1, -1), list(x.shape), align_corners=False)
            logits = self.decode(self.encode(x))
            return vae.bernoulli_log_likelihood(F.grid_sample(logits, grid, align_corners=False), x)

    with pytest.raises(AssertionError, match="grid_sampler_2d_backward"):
        assert_deterministic(Resampled(2, channels=2, width=4), digits())


# --- the augmentation, written out ------------------------------------------------------------------------------------


def by_grid_sample(images: Tensor, rotate: float, shift: float, scale: float) -> Tensor:
    """What `random_affine` does, by PyTorch's functions, whose gradient is not deterministic on a GPU."""
    n, _, height, width = images.shape
    angle, factor, dx, dy = 2 * torch.rand(4, n) - 1
    angle, zoom = angle * math.radians(rotate), 1 / (1 + factor * scale)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    # The grid measures both sides of a picture from -1 to 1, so that a turn of a wide picture needs its proportions.
    rows = [cos, -sin * height / width, dx * shift * 2 / width, sin * width / height, cos, dy * shift * 2 / height]
    theta = torch.stack(rows, dim=1).view(n, 2, 3).to(images)
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


AMOUNTS = [(0.0, 0.0, 0.0), (20.0, 2.0, 0.1), (180.0, 40.0, 0.9)]


@pytest.mark.parametrize("shape", [(8, 1, 28, 28), (8, 3, 12, 20), (8, 2, 9, 5), (8, 1, 1, 1)])
@pytest.mark.parametrize("amounts", AMOUNTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_augmentation_is_grid_sample(shape: tuple[int, ...], amounts: tuple[float, ...], dtype: torch.dtype) -> None:
    results = []
    for function in (random_affine, by_grid_sample):
        torch.manual_seed(0)
        images = torch.rand(shape, dtype=dtype, requires_grad=True)
        weights = torch.rand(shape, dtype=dtype)
        moved = function(images, *amounts)
        assert moved.dtype == dtype
        results.append((moved, *torch.autograd.grad((weights * moved).sum(), images)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)


def test_augmentation_is_linear_and_may_be_differentiated_twice() -> None:
    def moved(images: Tensor) -> Tensor:
        torch.manual_seed(0)
        return random_affine(images, *AMOUNTS[1]).square()

    images = torch.rand(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(moved, images)
    assert torch.autograd.gradgradcheck(moved, images)


def test_pictures_of_low_precision_are_read_at_exact_places() -> None:
    images = torch.rand(8, 1, 64, 64).bfloat16()
    torch.manual_seed(0)
    moved = random_affine(images, 20.0, 2.0, 0.1)
    torch.manual_seed(0)
    exact = random_affine(images.float(), 20.0, 2.0, 0.1)
    assert moved.dtype == torch.bfloat16
    # Rounded to 8 binary digits a place would be off by up to a quarter of a pixel, and so would be the values.
    torch.testing.assert_close(moved.float(), exact, rtol=0, atol=0.02)


def test_mixed_precision_reads_at_exact_places() -> None:
    images = torch.rand(8, 1, 64, 64)
    torch.manual_seed(0)
    exact = random_affine(images, 20.0, 2.0, 0.1)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        moved = random_affine(images, 20.0, 2.0, 0.1)
    torch.testing.assert_close(moved.float(), exact, rtol=0, atol=1e-5)


def test_a_turned_square_in_a_wide_picture_stays_a_square(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(1, 1, 20, 40)
    images[:, :, 6:14, 16:24] = 1
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.ones(shape, device=device))
    torch.testing.assert_close(random_affine(images, rotate=90.0), images, rtol=0, atol=1e-4)


# --- cuBLAS -----------------------------------------------------------------------------------------------------------

WATCH = """
import os, sys
import pytorch_lightning as pl
from torch.utils._python_dispatch import TorchDispatchMode

class Products(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in ("mm", "convolution")):
            print(os.environ.get("CUBLAS_WORKSPACE_CONFIG"))
        return func(*args, **(kwargs or {}))

with Products():
"""
EARLY = """
    from aigc_course import mixture, training
    import torch
    points = torch.randn(16, 2)
    points @ points.T
    model = mixture.GradientMixture(mixture.initialise(points, 2))
    training.fit(model, mixture.PointData(points, points), max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    points @ points.T
"""
JUDGE = """
    from tools import train_judge
    train_judge.EPOCHS, train_judge.BATCH = 1, 2000
    train_judge.train()
"""


@pytest.mark.parametrize(
    ("script", "own"), [(EARLY, None), (EARLY, ":16:8"), (JUDGE, None)], ids=["early", "own", "judge"]
)
def test_cublas_is_told_before_the_first_product(
    script: str, own: str | None, python: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if own:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", own)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    child = python("-c", WATCH + script)
    output, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors
    assert output.split()[0] == (own or ":4096:8")
    assert "None" not in output
