"""Options of the trainer and data of one's own: what `fit` passes on works with every model, or is refused by name."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import tiny
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from aigc_course import gan, gpt, training
from aigc_course.data import ImageData


def fitted(name: str, data: Any = None, **options: Any) -> dict[str, list[float]]:
    given = tiny.data(name) if data is None else data
    return training.fit(tiny.model(name), given, **{"max_epochs": 2, "accelerator": "cpu", **options})


# --- loaders ----------------------------------------------------------------------------------------------------------


def test_a_loader_does_what_a_data_module_does() -> None:
    train, validation = tiny.loader("vae"), tiny.loader("vae", shuffle=False)
    module = pl.LightningDataModule()
    module.train_dataloader, module.val_dataloader = lambda: train, lambda: validation  # type: ignore[method-assign]
    history = fitted("vae", train, validation=validation)
    assert history == fitted("vae", module)
    assert len(history["val_loss"]) == 2


PICTURES = torch.linspace(0, 1, 8 * 784).view(8, 1, 28, 28)


@pytest.mark.parametrize("name", ["autoencoder", "vae", "saturating_gan"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pictures_need_no_labels(name: str, dtype: torch.dtype) -> None:
    pictures = (2 * PICTURES - 1 if "gan" in name else PICTURES).to(dtype)
    alone: Any = pictures
    assert fitted(name, DataLoader(alone, batch_size=4)) == fitted(
        name, DataLoader(TensorDataset(pictures), batch_size=4)
    )


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield torch.rand(1, 28, 28), torch.tensor(3)


def test_data_without_a_length_take_a_number_of_batches() -> None:
    loader = DataLoader(Endless(), batch_size=4)
    history = fitted("conditional_vae", loader, limit_train_batches=3)
    assert len(history["train_loss"]) == 2
    assert len(fitted("vae", loader, max_epochs=1, max_steps=3)["train_loss"]) == 1


def test_worker_processes_load_the_same() -> None:
    order: dict[str, Any] = {"shuffle": False}
    loaded = [fitted("autoencoder", tiny.loader("autoencoder", num_workers=n, **order)) for n in (0, 2)]
    assert loaded[0] == loaded[1]


@pytest.mark.bad_input
def test_data_without_a_length_or_an_end() -> None:
    for name in ("vae", "gpt", "lstm", "dense_gan", "mixture"):
        with pytest.raises(ValueError, match=r"the data have no length.*limit_train_batches=.*max_steps="):
            fitted(name, DataLoader(Endless(), batch_size=4))


@pytest.mark.bad_input
@pytest.mark.parametrize("data", [[PICTURES], iter([PICTURES]), PICTURES, TensorDataset(PICTURES)])
def test_other_data_are_refused_by_name(data: Any) -> None:
    with pytest.raises(ValueError, match=f"data is a {type(data).__name__}; it takes a LightningDataModule or a DataL"):
        fitted("vae", data)


@pytest.mark.bad_input
def test_validation_beside_a_data_module_or_of_another_kind() -> None:
    with pytest.raises(ValueError, match=r"validation is a DataLoader and data a ImageData; .* brings its own"):
        fitted("vae", ImageData(), validation=tiny.loader("vae"))
    with pytest.raises(ValueError, match="validation is a list and data a DataLoader"):
        fitted("vae", tiny.loader("vae"), validation=[])


@pytest.mark.bad_input
@pytest.mark.parametrize("name", tiny.MODELS)
def test_no_batch_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="data gave no batch to train on"):
        fitted(name, limit_train_batches=0)
    if name != "dqn":
        with pytest.raises(ValueError, match="data gave no batch to train on"):
            fitted(name, tiny.loader(name, batch_size=50, drop_last=True))


@pytest.mark.bad_input
def test_an_empty_data_set_is_an_error() -> None:
    with pytest.raises(ValueError, match="data gave no batch to train on"):
        fitted("vae", DataLoader(TensorDataset(torch.empty(0, 1, 28, 28)), batch_size=2))


BATCHES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    r"a dict with the keys 'image', 'label'": lambda x, y: {"image": x, "label": y},
    r"a list of Tensor, Tensor, Tensor": lambda x, y: [x, y, y],
    r"a str": lambda x, y: "pictures",
    r"a list of str": lambda x, y: ["a.png", "b.png"][:1],
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", [name for name in tiny.MODELS if name != "dqn"])
@pytest.mark.parametrize("found", BATCHES)
def test_other_batches_are_refused_by_name(name: str, found: str) -> None:
    x, y = next(iter(tiny.loader(name)))
    numbers: Any = [0]
    loader: Any = DataLoader(numbers, batch_size=1, collate_fn=lambda _: BATCHES[found](x, y))
    with pytest.raises(ValueError, match=rf"the batch is {found}; the model takes \(\w+, \w+\)"):
        fitted(name, loader, max_epochs=1)


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["conditional_vae", "conditional_gan", "conditional_diffusion", "gpt", "lstm"])
def test_a_batch_that_lacks_what_the_model_needs(name: str) -> None:
    x, _ = next(iter(tiny.loader(name)))
    shape = re.escape(str(tuple(x.shape)))
    alone = rf"the batch is a tensor of the shape {shape}; the model takes \(\w+, \w+\)\."
    with pytest.raises(ValueError, match=alone):
        fitted(name, DataLoader(x, batch_size=len(x)))
    with pytest.raises(ValueError, match="the batch is a list of Tensor; the model takes"):
        fitted(name, DataLoader(TensorDataset(x), batch_size=len(x)))


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["autoencoder", "vae", "vqvae", "saturating_gan"])
def test_pictures_of_another_kind(name: str) -> None:
    for pictures, message in [
        ((255 * PICTURES).to(torch.uint8), r"the images have the type torch.uint8; .*images.float\(\) / 255"),
        (PICTURES.permute(0, 2, 3, 1), r"shape \(.*28, 28, 1\).* takes .*1, 28, 28"),
        (255 * PICTURES, r"values from 0 to 127"),
    ]:
        with pytest.raises(ValueError, match=message):
            fitted(name, DataLoader(TensorDataset(pictures), batch_size=4))


@pytest.mark.bad_input
@pytest.mark.bad_input
@pytest.mark.parametrize("kind", ["training", "validation"])
def test_numbers_that_are_missing_are_not_blamed_on_the_learning_rate(kind: str) -> None:
    options: dict[str, Any] = {}
    if kind == "training":
        points = torch.randn(12, 2)
        points[5, 1] = math.nan
        model: pl.LightningModule = gan.GAN(gan.DenseGenerator(2, (2,)), gan.DenseDiscriminator((2,)))
        data: DataLoader[Any] = DataLoader(TensorDataset(points), batch_size=4)
    else:
        model, data = tiny.model("vae"), tiny.loader("vae")
        images = torch.rand(12, 1, 28, 28)
        images[5, 0, 3] = math.inf
        options = {"validation": DataLoader(TensorDataset(images), batch_size=4)}
    with pytest.raises(ValueError, match=f"the {kind} data hold numbers that are not finite"):
        training.fit(model, data, max_epochs=2, accelerator="cpu", **options)


@pytest.mark.bad_input
def test_networks_and_modules_that_cannot_be_trained_by_themselves() -> None:
    for model in (nn.Linear(2, 2), gan.DenseGenerator(2, (2,))):
        with pytest.raises(ValueError, match=f"model is a {type(model).__name__}; it takes a LightningModule"):
            training.fit(model, tiny.loader("vae"), max_epochs=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["conditional_vae", "conditional_gan", "conditional_diffusion", "gpt"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_are_whole_numbers_of_any_size(name: str, dtype: torch.dtype) -> None:
    x, y = tiny.loader(name).dataset[:]
    model = tiny.model(name)
    history = training.fit(model, DataLoader(TensorDataset(x, y.to(dtype)), batch_size=4), max_epochs=1)
    expected = training.fit(tiny.model(name), DataLoader(TensorDataset(x, y), batch_size=4), max_epochs=1)
    assert history == expected


def test_pictures_that_are_no_tensors_get_advice() -> None:
    pictures = torchvision.datasets.FakeData(12, (1, 28, 28))
    with pytest.raises(TypeError) as error:
        training.fit(tiny.model("vae"), DataLoader(pictures, batch_size=4), max_epochs=1)
    assert "ToTensor()" in error.value.__notes__[0]


@pytest.mark.bad_input  # for the shape checks, whose int is Python's alone
def test_a_whole_number_of_numpy_is_one() -> None:
    epochs: Any = np.int64(2)
    assert len(training.fit(tiny.model("vae"), tiny.loader("vae"), max_epochs=epochs)["train_loss"]) == 2


def test_one_example_alone_meets_no_batch_normalisation() -> None:
    nine = TensorDataset(2 * torch.rand(9, 1, 28, 28) - 1)
    with pytest.raises(ValueError, match="9 examples in batches of 4 leave one alone in the last batch"):
        fitted("saturating_gan", DataLoader(nine, batch_size=4, shuffle=True))
    fitted("saturating_gan", DataLoader(nine, batch_size=4, drop_last=True))
    fitted("saturating_gan", DataLoader(nine, batch_size=4), limit_train_batches=2)
    fitted("vae", DataLoader(TensorDataset(PICTURES[:5]), batch_size=4))
    with pytest.raises(ValueError, match="4000 examples in batches of 31 leave one alone"):
        fitted("saturating_gan", ImageData(batch_size=31, signed=True))


# --- precision --------------------------------------------------------------------------------------------------------

SAMPLES: dict[str, Callable[[Any], Tensor]] = {
    "vae": lambda model: model.sample(2),
    "conditional_vae": lambda model: model.sample(2, torch.tensor([1, 2])),
    "dense_gan": lambda model: model.sample(2),
    "conditional_gan": lambda model: model.sample(2),
    "diffusion": lambda model: model.guess()(
        *(torch.full(size, 0.5, dtype=model.dtype) for size in ((2, 1, 28, 28), (2,)))
    )[0],
    "pixelcnn": lambda model: model.logits(torch.zeros(2, 1, 28, 28, dtype=model.dtype)),
    "realnvp": lambda model: model.sample(2),
    "gpt": lambda training: training.model(torch.tensor([[1, 2, 3]])),
    "gpt2": lambda training: training.model(torch.tensor([[1, 2, 3]])),
    "dqn": lambda model: model(torch.zeros(2, 4, dtype=torch.float64)),
}


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_every_precision_trains_or_is_refused(name: str, precision: Any) -> None:
    model = tiny.model(name)
    options: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "precision": precision}
    if name in ("mixture", "realnvp") and precision == "bf16-true":
        with pytest.raises(ValueError, match=r"precision gives the \w+ torch.bfloat16; it takes '32-true' or"):
            training.fit(model, tiny.data(name), **options)
        return
    history = training.fit(model, tiny.data(name), **options)
    assert all(len(values) == 1 for values in history.values())
    dtype = {"bf16-true": torch.bfloat16, "64-true": torch.float64, "bf16-mixed": torch.float32}[precision]
    assert next(model.parameters()).dtype == dtype
    if name in SAMPLES:
        with torch.no_grad():
            made = SAMPLES[name](model)
        assert made.dtype == dtype
        assert made.isfinite().all()


@pytest.mark.parametrize("name", ["vae", "dense_gan", "gpt"])
def test_models_can_be_cast(name: str) -> None:
    model = tiny.model(name).eval()
    for dtype in (torch.float64, torch.bfloat16):
        made = SAMPLES[name](model.to(dtype))
        assert made.dtype == dtype
    assert SAMPLES[name](model.double()).dtype == torch.float64


def test_rotary_angles_keep_their_digits() -> None:
    model = gpt.GPT(gpt.GPTConfig(11, 300, layers=1, heads=2, width=8))
    expected = gpt.rotary_angles(300, 4)
    for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.float32):
        model.to(dtype)
        assert torch.equal(model.angles, expected)
    x = torch.randn(300, 4)
    turned = gpt.rotate(x.bfloat16(), expected.cos(), expected.sin())
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.float(), gpt.rotate(x, expected.cos(), expected.sin()), atol=0.05, rtol=0.05)


# --- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork"])
@pytest.mark.parametrize("name", ["dense_gan", "dqn"])
def test_models_with_steps_of_their_own_train_in_one_process(name: str, strategy: str) -> None:
    message = r"a (GAN|DQN), whose steps are its own, trains in one\. Leave strategy out and take devices=1"
    with pytest.raises(ValueError, match=message):
        fitted(name, strategy=strategy, devices=2)


# --- other options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_fast_run_for_developers(name: str) -> None:
    history = fitted(name, fast_dev_run=True, max_epochs=5)
    assert all(len(values) == 1 for values in history.values())


def test_options_that_limit_the_work() -> None:
    assert len(fitted("vae", overfit_batches=2)["train_loss"]) == 2
    assert len(fitted("vae", max_steps=4, max_epochs=9)["train_loss"]) == 2
    assert len(fitted("dense_gan", max_steps=9, max_epochs=9)["generator_loss"]) == 1
    assert len(fitted("dqn", max_steps=4, max_epochs=9)["loss"]) == 2


@pytest.mark.parametrize("name", ["vae", "dense_gan"])
def test_training_can_stop_early(name: str) -> None:
    monitor = {"vae": "train_loss", "dense_gan": "generator_loss"}[name]
    stop = pl.callbacks.EarlyStopping(monitor, patience=0, divergence_threshold=-1e9)
    assert len(fitted(name, callbacks=stop, max_epochs=9)[monitor]) == 1


def test_a_logger_writes_where_it_is_told(tmp_path: Path) -> None:
    logger = pl.loggers.CSVLogger(tmp_path, name="runs")
    fitted("dense_gan", logger=logger, log_every_n_steps=1)
    metrics = (tmp_path / "runs" / "version_0" / "metrics.csv").read_text().splitlines()
    assert "generator_loss" in metrics[0]
    assert len(metrics) == 3
    assert "DenseGenerator" in (tmp_path / "runs" / "version_0" / "hparams.yaml").read_text()


@pytest.mark.bad_input
@pytest.mark.parametrize("max_epochs", [2.5, "3", True, None, -1, 0])
def test_epochs_are_a_whole_number(max_epochs: Any) -> None:
    with pytest.raises(ValueError, match=r"max_epochs is .*; it takes a whole number"):
        fitted("vae", max_epochs=max_epochs)


@pytest.mark.bad_input
def test_options_that_are_none() -> None:
    with pytest.raises(TypeError, match="max_epoch_count"):
        fitted("vae", max_epoch_count=3)
    if not torch.cuda.is_available():
        with pytest.raises(Exception, match=r"(?i)gpu|cuda"):
            fitted("vae", accelerator="gpu")
