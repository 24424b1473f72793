"""Training: the same seed gives the same curve, nothing is left behind, models are trained once and stored whole."""

import json
import logging
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from ddp_script import curves
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from aigc_course import training

Starter = Callable[..., subprocess.Popen[str]]


class Line(pl.LightningModule):
    """Fits y = wx + b, with a little noise on x so that the seed matters beyond the order."""

    def __init__(self, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.learning_rate = learning_rate

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = (self.layer(x + 0.01 * torch.randn_like(x)) - y).square().mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", (self.layer(x) - y).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


class Points(pl.LightningDataModule):
    """64 points on y = 3x - 1; the last 16 are held out."""

    def __init__(self) -> None:
        super().__init__()
        x = torch.linspace(-1, 1, 64).view(4, 16).t().reshape(-1, 1)
        self.x, self.y = x, 3 * x - 1

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(self.x[:48], self.y[:48]), batch_size=8, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(self.x[48:], self.y[48:]), batch_size=16)


def line(learning_rate: float = 0.1) -> Line:
    torch.manual_seed(0)
    return Line(learning_rate)


def fitted(**options: Any) -> dict[str, list[float]]:
    return training.fit(line(), Points(), **{"max_epochs": 3, "accelerator": "cpu", **options})


# --- resolve_profile -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gpu", "expected"), [(True, "gpu"), (False, "cpu")])
def test_auto_profile_asks_for_a_gpu(monkeypatch: pytest.MonkeyPatch, gpu: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert training.resolve_profile("auto") == expected
    assert training.resolve_profile() == expected
    assert [training.resolve_profile(name) for name in training.PROFILES] == ["smoke", "cpu", "gpu"]


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["fast", "", "CPU"])
def test_unknown_profile(name: str) -> None:
    with pytest.raises(ValueError, match=f"profile is '{name}'; it takes 'auto' or one of 'smoke', 'cpu', 'gpu'"):
        training.resolve_profile(name)


# --- fit -------------------------------------------------------------------------------------------------------------


def test_fit_learns_and_returns_the_curve() -> None:
    model = line()
    history = training.fit(model, Points(), max_epochs=20, accelerator="cpu")
    assert sorted(history) == ["train_loss", "val_loss"]
    assert [len(values) for values in history.values()] == [20, 20]
    assert history["val_loss"][-1] < 1e-2 < history["val_loss"][0]
    assert model.layer.weight.item() == pytest.approx(3, abs=0.1)
    assert model.layer.bias.item() == pytest.approx(-1, abs=0.1)
    assert not model.training
    # The last value is the final model's, not an earlier epoch's.
    x, y = next(iter(Points().val_dataloader()))
    assert history["val_loss"][-1] == pytest.approx((model.layer(x) - y).square().mean().item(), rel=1e-4)


def test_seed_decides_the_curve() -> None:
    first = fitted(seed=3)
    torch.rand(17)  # whatever was drawn before the call makes no difference
    assert fitted(seed=3) == first
    assert fitted(seed=4)["train_loss"] != first["train_loss"]


def test_trainer_options_win() -> None:
    class Counter(pl.Callback):
        steps = 0

        def on_train_batch_end(self, *args: Any) -> None:
            self.steps += 1

    counter = Counter()
    fitted(max_steps=4, callbacks=[counter])
    assert counter.steps == 4
    fitted(max_epochs=2, limit_train_batches=3, callbacks=counter)  # Lightning takes a single one too
    assert counter.steps == 4 + 2 * 3
    assert "val_loss" not in fitted(limit_val_batches=0)


@pytest.mark.bad_input
@pytest.mark.parametrize("max_epochs", [0, -1])
def test_no_epochs(max_epochs: int) -> None:
    with pytest.raises(ValueError, match=f"max_epochs is {max_epochs}; it takes a whole number ≥ 1"):
        fitted(max_epochs=max_epochs)


def test_divergence_is_an_error() -> None:
    with pytest.raises(
        FloatingPointError, match=r"diverged in epoch \d: .*train_loss is (inf|nan).* Lower the learning rate"
    ):
        training.fit(line(learning_rate=1e6), Points(), max_epochs=20, accelerator="cpu")


class BreaksInEpoch3(training.EpochLogger):
    """Learns as `Line` does, but its loss is NaN from the third epoch on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = (self.layer(x) - y).square().mean()
        if self.current_epoch == 2:
            loss = loss * float("nan")
        self.collect(train_loss=loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_divergence_keeps_the_last_good_weights_and_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BreaksInEpoch3()
    save = pl.callbacks.ModelCheckpoint(tmp_path, filename="last", every_n_epochs=1)
    options: dict[str, Any] = {"accelerator": "cpu", "callbacks": save, "enable_checkpointing": True}
    with pytest.raises(FloatingPointError, match="diverged in epoch 3: train_loss is nan"):
        training.fit(model, Points(), max_epochs=5, **options)
    assert not model.training
    torch.manual_seed(0)
    two_epochs = BreaksInEpoch3()
    training.fit(two_epochs, Points(), max_epochs=2, accelerator="cpu")
    stored = torch.load(save.best_model_path, weights_only=True)
    assert stored["epoch"] == 1
    for name, value in two_epochs.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
        assert torch.equal(stored["state_dict"][name], value)


def test_fit_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    filters, level = list(warnings.filters), logging.getLogger("pytorch_lightning").level
    fitted()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    assert (warnings.filters, logging.getLogger("pytorch_lightning").level) == (filters, level)


def test_a_person_sees_progress(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AIGC_COURSE_QUIET")
    fitted(max_epochs=1)
    assert "Epoch 0" in "".join(capfd.readouterr())


@pytest.mark.once
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork"])
def test_two_processes_train_like_one(python: Starter, strategy: str) -> None:
    one = curves(devices=1)
    child = python(str(Path(__file__).with_name("ddp_script.py")), "2", strategy)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert not err or strategy == "ddp_spawn"  # whose processes start afresh, and Lightning is not silenced in them
    two = json.loads(out)
    # In a fixed order both see the same batches, and the mean of two halves' gradients is the whole's: the same curve.
    for name, values in one["fixed"].items():
        assert two["fixed"][name] == pytest.approx(values, rel=1e-4)
    # Shuffled, the pictures come in another order, and each process draws its own noise.
    assert two["shuffled"]["val_loss"][-1] == pytest.approx(one["shuffled"]["val_loss"][-1], rel=0.05)
    assert one["shuffled"]["val_loss"][-1] < 0.9 * one["shuffled"]["val_loss"][0]


# --- cached ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    return tmp_path / "models"


class Trainings:
    """Makes a model that can be told from those made before it, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> tuple[pl.LightningModule, dict[str, list[float]]]:
        self.count += 1
        model = line()
        nn.init.constant_(model.layer.weight, self.count)
        return model, {"train_loss": [2.5, 1.25 / self.count]}


def weight(model: pl.LightningModule) -> float:
    assert isinstance(model, Line)
    return model.layer.weight.item()


def files(models: Path) -> list[str]:
    return sorted(path.suffix for path in models.iterdir() if path.suffix != ".lock")


def test_cached_trains_once(models: Path) -> None:
    train = Trainings()
    first, history = training.cached("line", {"lr": 0.1}, train, line)
    again, stored = training.cached("line", {"lr": 0.1}, train, line)
    assert train.count == 1
    assert again is not first
    assert not again.training
    assert stored == history == {"train_loss": [2.5, 1.25]}
    for name, value in first.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert files(models) == [".pt"]


def test_cached_follows_the_recipe(models: Path) -> None:
    train = Trainings()
    assert weight(training.cached("line", {"lr": 0.1, "epochs": 3}, train, line)[0]) == 1
    assert weight(training.cached("line", {"epochs": 3, "lr": 0.1}, train, line)[0]) == 1  # order says nothing
    assert weight(training.cached("line", {"lr": 0.1, "epochs": 4}, train, line)[0]) == 2
    assert weight(training.cached("curve", {"lr": 0.1, "epochs": 3}, train, line)[0]) == 3
    assert weight(training.cached("line", {"lr": 0.1, "epochs": 3}, train, line)[0]) == 1
    assert files(models) == [".pt"] * 3


def test_cached_retrains_when_asked(models: Path) -> None:
    train = Trainings()
    training.cached("line", {}, train, line)
    assert weight(training.cached("line", {}, train, line, retrain=True)[0]) == 2
    assert weight(training.cached("line", {}, train, line)[0]) == 2
    assert files(models) == [".pt"]


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_broken_model_is_one_clear_error(models: Path, keep: int) -> None:
    train = Trainings()
    training.cached("line", {}, train, line)
    path = next(models.glob("line-*.pt"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RuntimeError, match=r"line-.*\.pt cannot be read \(.*Delete it; the model is trained again"):
        training.cached("line", {}, train, line)
    path.unlink()
    assert weight(training.cached("line", {}, train, line)[0]) == 2  # the remedy works


def test_interrupted_write_leaves_the_old_file(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Trainings()
    training.cached("line", {}, train, line)

    def interrupted(path: Path, content: object) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.cached("line", {}, train, line, retrain=True)
    assert files(models) == [".pt"]
    assert weight(training.cached("line", {}, train, line)[0]) == 1


CHILD = """
import os, signal, sys, time
from pathlib import Path
import pytorch_lightning as pl, torch
from aigc_course import training

class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

def train():
    print("training", flush=True)
    time.sleep(1)  # time for the other process to come
    model = Line()
    torch.nn.init.constant_(model.layer.weight, 7.0)
    return model, {"train_loss": [0.5]}

def killed(path, content):
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "killed":
    Path.write_bytes = killed
training.cached("line", {}, train, Line)
"""


@pytest.mark.parametrize("fate", ["well", "killed"])
def test_two_processes_share_a_training(models: Path, python: Starter, fate: str) -> None:
    child = python("-c", CHILD, fate)
    assert child.stdout is not None
    assert child.stdout.readline() == "training\n"  # it holds the lock by now
    train = Trainings()
    model, history = training.cached("line", {}, train, line)
    assert child.communicate(timeout=60)[1] == ""
    if fate == "well":
        assert child.returncode == 0
        assert (train.count, weight(model), history) == (0, 7, {"train_loss": [0.5]})
    else:  # the lock went with the process, and its half file is nobody's model
        assert child.returncode < 0
        assert (train.count, weight(model)) == (1, 1)
    assert weight(training.cached("line", {}, train, line)[0]) == weight(model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_step_does_not_ask_the_driver_for_a_gpu() -> None:
    # Lightning sets it when it is imported, and an Adam step of a small network then takes twice as long.
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ
