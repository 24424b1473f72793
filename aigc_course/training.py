"""Training: `fit` seeds, trains and returns the curve; `cached` hands a trained model from one chapter to another.

`fit` fixes the few defaults that every chapter shares and passes every other option to `pl.Trainer`. Whoever outgrows
one machine says so there: `fit(model, data, devices=4, strategy="ddp", precision="bf16-mixed")`.
"""

import contextlib
import hashlib
import inspect
import io
import json
import logging
import math
import os
import random
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from aigc_course.checks import check_count
from aigc_course.data.files import cached_file, written_whole

PROFILES = ("smoke", "cpu", "gpu")
_BATCH_NORMALISATIONS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d, torch.nn.SyncBatchNorm)

# Lightning has PyTorch ask the driver whether there is a GPU, so that a process that was asked can still be forked. But
# every step of an optimiser asks, and where there is no GPU that takes as long as the small step itself.
if not torch.cuda.is_available():
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


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


def has_batch_normalisation(network: torch.nn.Module) -> bool:
    """Return whether the examples of a batch meet in one of the network's layers."""
    return any(isinstance(layer, _BATCH_NORMALISATIONS) for layer in network.modules())


class EpochLogger(pl.LightningModule):
    """A LightningModule that gathers figures at every training step and logs their means once an epoch.

    Lightning's own `log`, called at every step, would take a twentieth of the time on a CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self._collected: dict[str, list[Tensor]] = {}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **options: Any) -> Any:  # type: ignore[override]
        """Return the model of a checkpoint that Lightning wrote; options and arguments as in Lightning.

        Raises `ValueError` for a file that is no such checkpoint.
        """
        stored = read_checkpoint(checkpoint_path)
        try:
            return super().load_from_checkpoint(checkpoint_path, **options)
        except (RuntimeError, TypeError) as error:
            trained = stored.get("aigc_course", {}).get("model", "another class")
            error.add_note(f"The checkpoint was made by a model of the class {trained}, with other arguments perhaps.")
            raise

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
    # Labels and the like may be whole numbers of any size; PyTorch takes 64 bits only.
    return [parts[0], *(part.long() if _is_whole(part) else part for part in parts[1:])]


def _is_whole(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


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
    nothing = model.trainer.limit_train_batches == 0  # Lightning then looks at no data, and does not know their length
    steps = 0 if nothing else model.trainer.estimated_stepping_batches
    if not 0 <= steps < math.inf:
        raise ValueError(
            "the data have no length, so that the learning rate cannot be planned; give fit the number of batches in "
            "an epoch, limit_train_batches=..., or of steps in all, max_steps=..."
        )
    return max(1, int(steps))


def with_rise_and_fall(model: pl.LightningModule, optimizer: torch.optim.Optimizer, rising: float) -> dict[str, Any]:
    """Return what `configure_optimizers` returns for a learning rate that rises for a share `rising` of the training.

    It rises linearly to the optimizer's rate, and falls linearly to 0 at the end of the training. Raises `ValueError`
    as `planned_steps` does.
    """
    total = planned_steps(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (rising * total + 1), max(0.0, 1 - step / total))
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint that Lightning wrote holds.

    Raises `FileNotFoundError` if nothing is there, and `ValueError` for anything else.
    """
    try:
        # Mapped, not read: an agent's buffer is large, and nobody looks at it here.
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as a checkpoint: it was cut off when it was written or copied, or it is "
            f"another kind of file ({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from error
    if not isinstance(stored, dict) or "pytorch-lightning_version" not in stored:
        raise ValueError(
            f"{str(path)!r} is not a checkpoint that Lightning wrote. If it holds the weights of a model, "
            "torch.save(model.state_dict(), path), build the model and call model.load_state_dict(torch.load(path))."
        )
    return stored


class NetworkModel(EpochLogger):
    """A model that is given its networks as arguments, and whose checkpoints know how to build them again.

    A network of the course keeps the arguments that it was built with as `arguments`, plain values. A subclass names
    the classes that a checkpoint may ask for as `network_classes`, and calls `keep_networks`.
    """

    network_classes: tuple[type[torch.nn.Module], ...] = ()

    def keep_networks(self, **networks: torch.nn.Module) -> None:
        """Note among the hyperparameters how these arguments of the model are built, where that is known."""
        kept = {}
        for name, network in networks.items():
            known = type(network) in self.network_classes
            kept[name] = {"class": type(network).__name__, "arguments": network.arguments if known else None}
        self.save_hyperparameters(kept)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **options: Any) -> Any:  # type: ignore[override]
        """Return the model of a checkpoint that Lightning wrote, its networks built as they were.

        **Arguments:** `options`: as in Lightning; arguments of the model win over those in the checkpoint.

        Raises `ValueError` if the checkpoint holds a network that is not one of the course's and none is given.
        """
        stored = read_checkpoint(checkpoint_path).get("hyper_parameters", {})
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
    """Collects, once an epoch, the mean of every quantity that the model logs, and the last good epoch's weights.

    Into the checkpoints that Lightning writes it puts what an exact continuation needs besides: the curve so far, and
    the states of the random generators.
    """

    def __init__(self, for_other_process: Path) -> None:
        self.history: dict[str, list[float]] = {}
        self.good_weights: dict[str, Any] = {}
        self.started = False
        self.epochs = 0  # whose figures are in the history
        self.finite: dict[str, Tensor] = {}  # whether the numbers of the first epoch's batches are, by the kind of data
        self._ended = 0  # epochs that came to their end
        self._between = False  # an epoch's end and the next one's start
        self._for_other_process = for_other_process

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = True
        _say_older_checkpoint(trainer)
        _refuse_single(trainer.train_dataloader, float(trainer.num_training_batches), pl_module)
        self._keep(pl_module)

    def _keep(self, pl_module: pl.LightningModule) -> None:
        self.good_weights = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._look_at("training", batch)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._look_at("validation", batch)

    def _look_at(self, kind: str, batch: Any) -> None:
        if not self.history:  # later on broken figures have another reason
            for part in batch if isinstance(batch, list | tuple) else [batch]:
                if isinstance(part, Tensor) and part.is_floating_point():
                    # The answer stays on the device until somebody asks.
                    self.finite[kind] = part.isfinite().all() & self.finite.get(kind, torch.tensor(True))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Too early to look: the model's own hook of this name comes after the callbacks', and may log more.
        self._ended, self._between = trainer.current_epoch + 1, True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take(trainer, pl_module)
        self._between = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and _starts_from_memory(trainer):
            self._for_other_process.write_text(json.dumps(self.history))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # An epoch whose end was itself interrupted has not logged all its figures.
        if isinstance(exception, KeyboardInterrupt) and trainer.current_epoch >= self._ended:
            self._take(trainer, pl_module)

    def _take(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.epochs < self._ended:
            figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
            _refuse_broken(figures, self.epochs)
            self.epochs = self._ended
            for name, value in figures.items():
                self.history.setdefault(name, []).append(value)
            self._keep(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._between:
            self._take(trainer, pl_module)
        checkpoint["aigc_course"] = {
            "model": type(pl_module).__name__,
            "between_epochs": self._between,
            "epochs": self.epochs,
            "history": {name: list(values) for name, values in self.history.items()},
            "generators": _generator_states(),
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint.get("aigc_course")
        if state is None:
            raise ValueError(
                "ckpt_path is a checkpoint that fit did not make: it has no curve and no states of the random "
                "generators. Continue it with pl.Trainer, or start from its weights with load_from_checkpoint."
            )
        if not state["between_epochs"]:
            raise ValueError(
                f"ckpt_path is a checkpoint from the middle of epoch {checkpoint['epoch'] + 1}, and fit goes on from "
                "the end of one only. Give one that ModelCheckpoint(save_on_train_epoch_end=True) wrote."
            )
        self.history, self.epochs, self._ended = state["history"], state["epochs"], state["epochs"]
        # Now, since what is drawn next is the next epoch's order: Lightning asks for it before that epoch begins.
        _restore_generators(state["generators"])


def _refuse_single(loader: Any, batches: float, model: pl.LightningModule) -> None:
    """Say before training that batch normalisation would meet a last batch of one example, whose variance is 0."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return  # nobody knows the size of its last batch
    sampler: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    if not isinstance(sampler, BatchSampler) or sampler.drop_last or batches < len(sampler):
        return
    examples = len(cast(Any, sampler.sampler))
    if has_batch_normalisation(model) and examples % sampler.batch_size == 1:
        raise ValueError(
            f"{examples} examples in batches of {sampler.batch_size} leave one alone in the last batch, and the model "
            "has batch normalisation, which takes at least two. Take another batch size, or leave the last batch out: "
            "DataLoader(..., drop_last=True)."
        )


def _say_older_checkpoint(trainer: pl.Trainer) -> None:
    """Warn if another training left a last checkpoint where this one's will be: it keeps the name."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.save_last and callback.dirpath:
            last = Path(callback.dirpath) / f"{callback.CHECKPOINT_NAME_LAST}{callback.FILE_EXTENSION}"
            if last.exists() and str(last) != callback.last_model_path:
                warnings.warn(
                    f"{str(last)!r} is the last checkpoint of another training and stays so; this one's gets another "
                    "name, such as last-v1.ckpt. Take an empty folder for each training.",
                    stacklevel=2,
                )


def _generator_states() -> dict[str, Any]:
    """The states of all random generators, as plain values: nothing else can be read with `weights_only=True`."""
    name, keys, *rest = cast(Any, np.random.get_state())  # noqa: NPY002 (the generator that seed_everything seeds)
    return {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore_generators(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state.cpu(), device)


def _starts_from_memory(trainer: pl.Trainer) -> bool:
    """Whether the trainer trains copies of the model in processes of their own, as `ddp_spawn`, `ddp_notebook` do."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


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
            # Without a word, one would begin again in silence, and the other write nothing.
            warnings.filterwarnings("default", message=".*there is no last checkpoint available")
            warnings.filterwarnings("default", message=".*could not find the monitored key")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


# What to do about errors of PyTorch's that do not say it, by words that are in them.
_ADVICE = {
    "Error(s) in loading state_dict": (
        "ckpt_path is a checkpoint of another model, or of one with other arguments. The class's own "
        "load_from_checkpoint(path) builds the model as it was; give that one to fit."
    ),
    "default_collate": (
        "The data set gives something that is not a tensor. One of torchvision's takes a transform that makes tensors, "
        "such as transform=torchvision.transforms.ToTensor()."
    ),
}

# Set while a model is trained for the cache: there the stop button stops everything, since half a model is none.
_for_cache: ContextVar[bool] = ContextVar("_for_cache", default=False)


def fit(
    model: pl.LightningModule,
    data: pl.LightningDataModule | DataLoader[Any],
    *,
    max_epochs: int,
    seed: int = 0,
    validation: DataLoader[Any] | None = None,
    ckpt_path: str | Path | None = None,
    **trainer_options: Any,
) -> dict[str, list[float]]:
    """Train `model` on `data` and return the curve: one list per logged quantity, one value per epoch.

    The random generators of Python, NumPy and PyTorch are seeded with `seed` first, so that two calls with equally
    initialised models give equal weights. (Weights drawn before the call need a seed of their own: build the model
    after `pl.seed_everything`.) Nothing is written to disk: no logger, no checkpoint, unless `trainer_options` ask.

    **Stop and go on.** The stop button (Ctrl-C) ends training, not the program: the model keeps the weights it has, a
    `UserWarning` names the epoch, and the curve of the epochs before it is returned. (Where a model is trained for the
    cache, and with `ddp_spawn` and its like, the `KeyboardInterrupt` comes through.) To go on another day, let
    Lightning write checkpoints, `enable_checkpointing=True` or `callbacks=ModelCheckpoint(...)`, and give one as
    `ckpt_path`. On one device the curve, which holds the earlier epochs too, and the weights are those of a run that
    was never stopped. (What `Games` says about its games, and whatever a callback of your own draws at random when an
    epoch begins, are the exceptions.) With a larger `max_epochs` schedules of the learning rate follow the longer plan
    from the next step on.

    **Arguments:**

    - `data`: a data module, or a loader of training batches.
    - `max_epochs`: passes through the training data, at least 1.
    - `seed`: a whole number ≥ 0.
    - `validation`: a loader of validation batches, where `data` is a loader.
    - `ckpt_path`: a checkpoint, made at the end of an epoch of `fit`, to go on from; read with `weights_only=True`.
    - `trainer_options`: any argument of `pl.Trainer`, for example `devices`, `strategy`, `num_nodes`, `precision`,
      `callbacks`, `gradient_clip_val`. What is named here wins over the defaults below.

    **Returns:** for example `{"train_loss": [180.2, 140.9], "val_loss": [150.1, 133.3]}`.

    Raises `ValueError` for a `max_epochs` that is not a whole number of at least 1, for a model or data of another
    kind, for data without a batch or with numbers that are not finite, for a last batch of one example where the model
    has batch normalisation, for a checkpoint that `fit` did not make at the end of an epoch, and for several processes
    where a model takes its own optimiser steps (GAN, DQN); and `FloatingPointError` after the first epoch with a figure
    that is not finite; the model then has the weights of the epoch before.
    """
    check_count("max_epochs", max_epochs)
    if not isinstance(getattr(model, "_orig_mod", model), pl.LightningModule):  # which torch.compile wraps
        raise ValueError(
            f"model is a {type(model).__name__}; it takes a LightningModule, such as vae.VAE(...), or gan.GAN(...), "
            "dqn.DQN(...) and gpt.NextTokenTraining(...) around their networks."
        )
    if ckpt_path is not None and ckpt_path not in ("last", "best"):
        read_checkpoint(ckpt_path)
    if not isinstance(data, pl.LightningDataModule | DataLoader):
        raise ValueError(
            f"data is a {type(data).__name__}; it takes a LightningDataModule or a DataLoader, such as "
            "DataLoader(dataset, batch_size=64, shuffle=True)."
        )
    if validation is not None and not (isinstance(data, DataLoader) and isinstance(validation, DataLoader)):
        raise ValueError(
            f"validation is a {type(validation).__name__} and data a {type(data).__name__}; validation takes a "
            "DataLoader beside a DataLoader, and a data module brings its own."
        )
    callbacks = trainer_options.get("callbacks") or []  # Lightning takes one or several
    callbacks = [callbacks] if isinstance(callbacks, pl.Callback) else list(callbacks)
    options: dict[str, Any] = {
        "accelerator": "auto",
        "devices": 1,
        "deterministic": True,
        "logger": False,
        # Whoever gives a ModelCheckpoint wants it to write; Lightning would refuse it where checkpoints are off.
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_model_summary": False,
        # A person sees progress; a stored output does not: Make sets the variable for the runs that publish.
        "enable_progress_bar": not os.environ.get("AIGC_COURSE_QUIET"),
        "num_sanity_val_steps": 0,
        **trainer_options,
    }
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    interrupt = signal.getsignal(signal.SIGINT)
    with tempfile.TemporaryDirectory() as folder:
        handed_over = Path(folder) / "curve.json"
        curve = _Curve(handed_over)
        options["callbacks"] = [*callbacks, curve]
        try:
            with _quiet_lightning():
                pl.seed_everything(seed, workers=True, verbose=False)
                trainer = pl.Trainer(max_epochs=int(max_epochs), **options)
                if trainer.strategy.launcher is not None and not model.automatic_optimization:
                    raise ValueError(
                        f"strategy and devices ask for processes beside this one, and a {type(model).__name__}, whose "
                        "steps are its own, trains in one. Leave strategy out and take devices=1; for several seeds "
                        "start several programs."
                    )
                trainer.fit(model, data, validation, ckpt_path=ckpt_path, weights_only=True)
            history = json.loads(handed_over.read_text()) if _starts_from_memory(trainer) else curve.history
        except FloatingPointError:
            model.load_state_dict(curve.good_weights)
            if broken := [kind for kind, finite in curve.finite.items() if not finite]:
                raise ValueError(
                    f"the {' and '.join(broken)} data hold numbers that are not finite (nan or inf), such as a missing "
                    "value of a table; leave those examples out, or fill in a value."
                ) from None
            raise
        except (RuntimeError, TypeError) as error:
            for words, advice in _ADVICE.items():
                if words in str(error):
                    error.add_note(advice)
            raise
        except SystemExit as end:
            # Lightning makes the end of the program out of the stop button.
            if not isinstance(end.__context__, KeyboardInterrupt) or not trainer.is_global_zero:
                raise
            if _for_cache.get() or _starts_from_memory(trainer):
                raise KeyboardInterrupt from None
            warnings.warn(
                f"training was stopped in epoch {curve.epochs + 1}; the curve has {curve.epochs} epochs.", stacklevel=2
            )
            return curve.history
        finally:
            torch.use_deterministic_algorithms(was_deterministic)  # the trainer leaves it switched on
            model.eval()
            if signal.getsignal(signal.SIGINT) is not interrupt:
                signal.signal(signal.SIGINT, interrupt)  # Lightning leaves the stop button without effect
    if not (curve.started or history):
        raise ValueError(
            "data gave no batch to train on: it is empty, smaller than one batch with drop_last=True, or "
            "limit_train_batches leaves nothing of it."
        )
    return history


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
    the file is moved into place whole. With `retrain=True` the model is trained and stored even if it is there. If
    training is stopped, the `KeyboardInterrupt` comes through and nothing is stored.

    **Arguments:**

    - `recipe`: everything that decides the result, as JSON-able values; `repr` of the source code included, if wanted.
    - `train`: trains by the recipe; returns the model and its curve.
    - `build`: makes the model that stored weights are loaded into.
    """
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    with cached_file(f"models/{name}-{digest}.pt", anew=retrain) as path:
        if path.exists() and not retrain:
            with isolate_rng():
                model = build()
            stored = _read(path)
            model.load_state_dict(stored["weights"])
            model.eval()
            return model, stored["history"]
        # Whoever loads the model draws the same random numbers afterwards as whoever trained it.
        with isolate_rng():
            outside = _for_cache.set(True)
            try:
                model, history = train()
            finally:
                _for_cache.reset(outside)
        # Into memory first: written to a full disk by PyTorch itself, it would end in an error that does not say so.
        content = io.BytesIO()
        torch.save({"weights": model.state_dict(), "history": history}, content)
        with written_whole(path) as part:
            part.write_bytes(content.getvalue())
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
