"""Training: `fit` seeds, trains and returns the curve; `cached` hands a trained model from one chapter to another.

`fit` fixes the few defaults that every chapter shares and passes every other option to `pl.Trainer`. Whoever outgrows
one machine says so there: `fit(model, data, devices=4, strategy="ddp", precision="bf16-mixed")`.
"""

import contextlib
import hashlib
import inspect
import json
import logging
import math
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from filelock import FileLock
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from aigc_course.data.files import cache_dir

PROFILES = ("smoke", "cpu", "gpu")


def resolve_profile(profile: str = "auto") -> str:
    """Return the profile's name; `"auto"` becomes `"gpu"` where PyTorch sees a GPU, else `"cpu"`.

    Raises `ValueError` for a name that is not one of `"auto"`, `"smoke"`, `"cpu"`, `"gpu"`.
    """
    if profile == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; it takes 'auto' or one of {', '.join(map(repr, PROFILES))}.")
    return profile


@contextlib.contextmanager
def evaluating(network: torch.nn.Module) -> Iterator[None]:
    """Let the network work as it does when it is used, without dropout and the like; then as it did before."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


class EpochLogger(pl.LightningModule):
    """A LightningModule that gathers figures at every training step and logs their means once an epoch.

    Lightning's own `log`, called at every step, would take a twentieth of the time on a CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self._collected: dict[str, list[Tensor]] = {}

    def collect(self, **figures: Tensor) -> None:
        """Keep a step's figures, numbers without shape, for the epoch's means."""
        for name, value in figures.items():
            self._collected.setdefault(name, []).append(value.detach())

    def on_train_epoch_end(self) -> None:
        """Log the mean of every collected figure.

        Raises `FloatingPointError` if one is not finite: before Lightning's checkpoint callbacks have their turn, so
        that the last checkpoint on the disk is one from before.
        """
        # Averaged over the processes first: all must raise, or those that do not would wait for the others for ever.
        average = self.trainer.strategy.reduce
        means = {
            name: average(torch.stack(values).mean(), reduce_op="mean") for name, values in self._collected.items()
        }
        self._collected.clear()
        _refuse_broken({name: float(value) for name, value in means.items()}, self.current_epoch)
        self.log_dict(means, sync_dist=True)


def tensors_of(batch: Any, *names: str, least: int) -> list[Tensor]:
    """Return the tensors of a batch, which may come alone or as a list or tuple, at least `least` of those named.

    Raises `ValueError` for another number of them and for anything else, such as a dictionary.
    """
    parts = [batch] if isinstance(batch, Tensor) else batch
    sequence = isinstance(parts, list | tuple) and all(isinstance(part, Tensor) for part in parts[: len(names)])
    if not sequence or not least <= len(parts) <= len(names):
        found = f"a {type(batch).__name__}"
        if isinstance(batch, Tensor):
            found = f"a tensor of the shape {tuple(batch.shape)}"
        elif isinstance(batch, dict):
            found += f" with the keys {', '.join(map(repr, batch))}"
        elif isinstance(batch, list | tuple):
            found += f" of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
        alone = f", or {names[0]} alone" if least == 1 else ""
        raise ValueError(f"the batch is {found}; the model takes ({', '.join(names)}){alone}.")
    return list(parts)


def as_floats(name: str, values: Tensor, model: pl.LightningModule) -> Tensor:
    """Return floating-point numbers in the model's precision, without a copy where they have it already.

    Raises `ValueError` for whole numbers, such as the bytes of a picture.
    """
    if not values.is_floating_point():
        raise ValueError(
            f"the {name} have the type {values.dtype}; the model takes floating-point numbers "
            f"(for bytes from 0 to 255: {name}.float() / 255)."
        )
    return values.to(cast(torch.dtype, model.dtype))


def planned_steps(model: pl.LightningModule) -> int:
    """Return how many training steps the trainer plans, at least 1: what a schedule of the learning rate spans.

    Raises `ValueError` if neither the data nor an option of the trainer says where training ends.
    """
    steps = model.trainer.estimated_stepping_batches
    if not 0 <= steps < math.inf:
        raise ValueError(
            "the data have no length, so that the learning rate cannot be planned; give fit the number of batches in "
            "an epoch, limit_train_batches=..., or of steps in all, max_steps=..."
        )
    return max(1, int(steps))


class NetworkModel(EpochLogger):
    """A model that is given its networks as arguments, and whose checkpoints know how to build them again.

    A network of the course keeps the arguments that it was built with as `arguments`, plain values. A subclass names
    the classes that a checkpoint may ask for as `network_classes`, and calls `keep_networks`.
    """

    network_classes: tuple[type[torch.nn.Module], ...] = ()

    def keep_networks(self, **networks: torch.nn.Module) -> None:
        """Note among the hyperparameters how these arguments of the model are built, where that is known."""
        for name, network in networks.items():
            known = type(network) in self.network_classes
            self.hparams[name] = {"class": type(network).__name__, "arguments": network.arguments if known else None}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **options: Any) -> Any:  # type: ignore[override]
        """Return the model of a checkpoint that Lightning wrote, its networks built as they were.

        **Arguments:** `options`: as in Lightning; arguments of the model win over those in the checkpoint.

        Raises `ValueError` if the checkpoint holds a network that is not one of the course's and none is given.
        """
        stored = torch.load(checkpoint_path, map_location="cpu", weights_only=True).get("hyper_parameters", {})
        for name, value in stored.items():
            if isinstance(value, dict) and value.keys() == {"class", "arguments"} and name not in options:
                if value["arguments"] is None:
                    raise ValueError(
                        f"the checkpoint was made with a {value['class']} as {name}, which this course does not know "
                        f"how to build; give one: {cls.__name__}.load_from_checkpoint(path, {name}=...)."
                    )
                kinds = {kind.__name__: kind for kind in cls.network_classes}
                options[name] = kinds[value["class"]](**value["arguments"])
        return super().load_from_checkpoint(checkpoint_path, **{"weights_only": True, **options})


def running_average(decay: float, averaged: Any, current: Any, count: Any) -> None:
    r"""Move each averaged weight to $d \bar\theta + (1 - d) \theta$ in place, $d$ = `decay`.

    For `AveragedModel(network, multi_avg_fn=partial(running_average, decay))`: unlike the function that PyTorch makes,
    it can be pickled, as it must be when a model is saved whole or sent to another process.
    """
    get_ema_multi_avg_fn(decay)(averaged, current, count)


def _refuse_broken(figures: dict[str, float], epoch: int) -> None:
    broken = [f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        raise FloatingPointError(
            f"training diverged in epoch {epoch + 1}: {', '.join(broken)}. "
            "Lower the learning rate, or clip gradients with gradient_clip_val."
        )


class _Curve(pl.Callback):
    """Collects, once an epoch, the mean of every quantity that the model logs, and the last good epoch's weights."""

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.good_weights: dict[str, Any] = {}
        self._epoch_done = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._keep(pl_module)

    def _keep(self, pl_module: pl.LightningModule) -> None:
        self.good_weights = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Too early to look: the model's own hook of this name comes after the callbacks', and may log more.
        self._epoch_done = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._epoch_done:
            self._epoch_done = False
            figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
            _refuse_broken(figures, len(next(iter(self.history.values()), [])))
            for name, value in figures.items():
                self.history.setdefault(name, []).append(value)
            self._keep(pl_module)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's tips and the warnings that our choices (few batches, no workers) would raise at every fit."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("pytorch_lightning", "lightning_fabric"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch\.utils\.data)\.")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def fit(
    model: pl.LightningModule,
    data: pl.LightningDataModule | DataLoader[Any],
    *,
    max_epochs: int,
    seed: int = 0,
    validation: DataLoader[Any] | None = None,
    **trainer_options: Any,
) -> dict[str, list[float]]:
    """Train `model` on `data` and return the curve: one list a logged quantity, one value an epoch.

    The random generators of Python, NumPy and PyTorch are seeded with `seed` first, so that two calls with equally
    initialised models give equal weights. (Weights drawn before the call need a seed of their own: build the model
    after `pl.seed_everything`.) Nothing is written to disk: no logger, no checkpoint, unless `trainer_options` ask.

    **Arguments:**

    - `max_epochs`: passes through the training data, at least 1.
    - `seed`: a whole number ≥ 0.
    - `trainer_options`: any argument of `pl.Trainer`, for example `devices`, `strategy`, `num_nodes`, `precision`,
      `callbacks`, `gradient_clip_val`. What is named here wins over the defaults below.

    **Returns:** for example `{"train_loss": [180.2, 140.9], "val_loss": [150.1, 133.3]}`.

    Raises `ValueError` if `max_epochs` is below 1, and `FloatingPointError` after the first epoch with a figure that is
    not finite; the model then has the weights of the epoch before.
    """
    if max_epochs < 1:
        raise ValueError(f"max_epochs is {max_epochs}; it takes a whole number of at least 1.")
    curve = _Curve()
    options: dict[str, Any] = {
        "accelerator": "auto",
        "devices": 1,
        "deterministic": True,
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        # A person sees progress; a stored output does not: Make sets the variable for the runs that publish.
        "enable_progress_bar": not os.environ.get("AIGC_COURSE_QUIET"),
        "num_sanity_val_steps": 0,
        **trainer_options,
    }
    callbacks = options.get("callbacks") or []  # Lightning takes one or several
    options["callbacks"] = [*([callbacks] if isinstance(callbacks, pl.Callback) else callbacks), curve]
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        with _quiet_lightning():
            pl.seed_everything(seed, workers=True, verbose=False)
            pl.Trainer(max_epochs=max_epochs, **options).fit(model, data, validation)
    except FloatingPointError:
        model.load_state_dict(curve.good_weights)
        raise
    finally:
        torch.use_deterministic_algorithms(was_deterministic)  # the trainer leaves it switched on
        model.eval()
    return curve.history


def cached(
    name: str,
    recipe: dict[str, Any],
    train: Callable[[], tuple[pl.LightningModule, dict[str, list[float]]]],
    build: Callable[[], pl.LightningModule],
    *,
    retrain: bool = False,
) -> tuple[pl.LightningModule, dict[str, list[float]]]:
    """Return the model that `recipe` describes and its curve, from the cache if it is there, else by `train()`.

    The cache file is `models/<name>-<hash of the recipe>.pt` below the course's cache directory, so a changed recipe
    never meets an old model. A lock lets one process train while others that want the same model wait for it, and
    the file is moved into place whole. With `retrain=True` the model is trained and stored even if it is there.

    **Arguments:**

    - `recipe`: everything that decides the result, as JSON-able values; `repr` of the source code included, if wanted.
    - `train`: trains by the recipe; returns the model and its curve.
    - `build`: makes the model that stored weights are loaded into.
    """
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_dir("models") / f"{name}-{digest}.pt"
    with FileLock(f"{path}.lock"):
        if path.exists() and not retrain:
            with isolate_rng():
                model = build()
            stored = _read(path)
            model.load_state_dict(stored["weights"])
            model.eval()
            return model, stored["history"]
        # Whoever loads the model draws the same random numbers afterwards as whoever trained it.
        with isolate_rng():
            model, history = train()
        # A process may be stopped while it writes: others must find the old file or the new one, never half of it.
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            torch.save({"weights": model.state_dict(), "history": history}, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return model, history


def trained_by(
    recipe: dict[str, Any],
    name: str,
    model: Callable[..., pl.LightningModule],
    data: Callable[..., pl.LightningDataModule],
    *,
    retrain: bool = False,
) -> tuple[pl.LightningModule, dict[str, list[float]]]:
    """Return the course's model of this name and its curve: from the cache, else trained by its recipe first.

    The recipe holds the arguments of `model` under `"model"`, those of `data` under `"data"`, those of `fit` under
    `"fit"`, the seed among them. The source of the module that defines `model` counts as part of it.
    """

    def build() -> pl.LightningModule:
        torch.manual_seed(recipe["fit"]["seed"])
        return model(**recipe["model"])

    def make() -> tuple[pl.LightningModule, dict[str, list[float]]]:
        built = build()
        return built, fit(built, data(**recipe["data"]), **recipe["fit"])

    source = hashlib.sha256(inspect.getsource(sys.modules[model.__module__]).encode()).hexdigest()
    return cached(name, {**recipe, "source": source}, make, build, retrain=retrain)


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RuntimeError(f"{path} cannot be read ({error}). Delete it; the model is trained again.") from error
