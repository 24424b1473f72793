"""What is stopped can go on: checkpoints hold all that is needed, a stop button leaves the curve, nothing half-trained
is taken for a whole model."""

import copy
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from torch import nn
from torch.nn.utils import parametrize

from aigc_course import dqn, gan, gpt, lora, training


def fitted(name: str, **options: Any) -> tuple[pl.LightningModule, dict[str, list[float]]]:
    model = tiny.model(name)
    history = training.fit(model, tiny.data(name), **{"max_epochs": 2, "accelerator": "cpu", **options})
    return model, history


def checkpoints(folder: Path) -> dict[str, Any]:
    save = pl.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    return {"callbacks": save}  # which switches checkpoints on


def assert_equal_weights(found: nn.Module, expected: nn.Module) -> None:
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


# --- a checkpoint is a model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_checkpoint_is_enough_to_build_its_model(name: str, tmp_path: Path) -> None:
    model, _ = fitted(name, max_epochs=1, limit_train_batches=1, **checkpoints(tmp_path))
    (path,) = tmp_path.iterdir()
    loaded = type(model).load_from_checkpoint(path, weights_only=True)
    stored = torch.load(path, weights_only=True)["state_dict"]
    assert loaded.state_dict().keys() == stored.keys() == model.state_dict().keys()
    assert all(torch.equal(value, stored[key]) for key, value in loaded.state_dict().items())
    assert loaded.hparams == model.hparams
    assert [weight.requires_grad for weight in loaded.parameters()] == [
        weight.requires_grad for weight in model.parameters()
    ]


@pytest.mark.parametrize("name", tiny.MODELS)
def test_models_can_be_pickled_and_copied(name: str) -> None:
    model, _ = fitted(name, max_epochs=1, limit_train_batches=1)
    model.trainer = None  # Lightning's own, with all that hangs on it
    assert_equal_weights(copy.deepcopy(model), model)
    if not any(map(parametrize.is_parametrized, model.modules())):  # PyTorch stores these by their weights alone
        assert_equal_weights(pickle.loads(pickle.dumps(model)), model)


class OwnGenerator(nn.Module):
    shape, num_classes, latent_dim = (2,), 0, 3

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, z: Any, labels: Any = None) -> Any:
        return self.layer(z)


def test_a_network_of_ones_own_is_asked_for_by_name(tmp_path: Path) -> None:
    model = gan.GAN(OwnGenerator(), gan.DenseDiscriminator((2,), width=4, depth=1))
    points = tiny.DataLoader(tiny.TensorDataset(torch.randn(8, 2), torch.zeros(8)), batch_size=4)
    training.fit(model, points, max_epochs=1, accelerator="cpu", **checkpoints(tmp_path))
    (path,) = tmp_path.iterdir()
    with pytest.raises(ValueError, match=r"made with a OwnGenerator as generator.*load_from_checkpoint\(path, gen"):
        gan.GAN.load_from_checkpoint(path)
    assert_equal_weights(gan.GAN.load_from_checkpoint(path, generator=OwnGenerator()), model)


def test_merged_adapters_are_not_expected_in_a_checkpoint() -> None:
    model = gpt.build(vocab_size=11, context=6, heads=2, width=8)
    lora.merge_adapters(lora.add_adapters(model.model, 2))
    checkpoint: dict[str, Any] = {}
    model.on_save_checkpoint(checkpoint)
    assert checkpoint == {"adapters": {}}


# --- going on ---------------------------------------------------------------------------------------------------------


def resumed(name: str, path: Path, **options: Any) -> tuple[pl.LightningModule, dict[str, list[float]]]:
    """Go on from a checkpoint with a model of other weights and generators in another state."""
    torch.manual_seed(99)
    model = tiny.MODELS[name]()
    history = training.fit(
        model, tiny.data(name), **{"max_epochs": 3, "accelerator": "cpu", "seed": 5, "ckpt_path": path, **options}
    )
    return model, history


@pytest.mark.parametrize("name", [name for name in tiny.MODELS if name != "dqn"])
def test_a_continued_training_is_the_unstopped_one(name: str, tmp_path: Path) -> None:
    validation = None if "gan" in name else tiny.loader(name, shuffle=False)
    whole, history = fitted(name, max_epochs=3, validation=validation, **checkpoints(tmp_path))
    model, continued = resumed(name, tmp_path / "epoch=0.ckpt", validation=validation)
    assert continued == history
    assert all(len(values) == 3 for values in history.values())
    assert_equal_weights(model, whole)


def test_worker_processes_go_on_too(tmp_path: Path) -> None:
    def run(**options: Any) -> tuple[pl.LightningModule, dict[str, list[float]]]:
        model = tiny.model("vae")
        loader = tiny.loader("vae", num_workers=1)
        return model, training.fit(model, loader, max_epochs=3, accelerator="cpu", **options)

    whole, history = run(**checkpoints(tmp_path))
    model, continued = run(ckpt_path=tmp_path / "epoch=1.ckpt")
    assert continued == history
    assert_equal_weights(model, whole)


def test_an_agent_goes_on_with_its_buffer_and_counts(tmp_path: Path) -> None:
    agent, games = tiny.model("dqn"), tiny.data("dqn")
    assert isinstance(agent, dqn.DQN)
    history = training.fit(agent, games, max_epochs=2, accelerator="cpu", **checkpoints(tmp_path))
    other, more = tiny.model("dqn"), tiny.data("dqn")
    assert isinstance(other, dqn.DQN)
    # Nothing is left to train: the state is the checkpoint's.
    path = tmp_path / "epoch=1.ckpt"
    assert training.fit(other, more, max_epochs=2, accelerator="cpu", ckpt_path=path) == history
    assert (other.steps_done, other.updates_done) == (agent.steps_done, agent.updates_done)
    assert other._best[0] == agent._best[0] == max(history["return"])
    for found, expected in zip(more.buffer.state_dict()["columns"], games.buffer.state_dict()["columns"], strict=True):
        assert torch.equal(found, expected)
    continued = training.fit(other, more, max_epochs=3, accelerator="cpu", ckpt_path=path)
    assert {name: values[:2] for name, values in continued.items()} == history
    assert continued["transitions"] == [*history["transitions"], other.steps_done]
    assert other.steps_done > agent.steps_done


def test_a_second_training_of_an_agent_is_judged_by_itself() -> None:
    agent = tiny.model("dqn")
    assert isinstance(agent, dqn.DQN)
    agent._best = (1e9, copy.deepcopy(agent.network.state_dict()))  # an earlier training's, never to be beaten
    training.fit(agent, tiny.data("dqn"), max_epochs=1, accelerator="cpu")
    assert agent._best[0] < 1e9
    assert agent.averaged is not None
    for network in (agent.target_network, agent.averaged.module):
        assert_equal_weights(network, agent.network)


@pytest.mark.parametrize("name", ["vae", "dense_gan", "gpt", "lstm", "mixture"])
def test_schedules_follow_a_longer_plan(name: str, tmp_path: Path) -> None:
    class Rates(pl.Callback):
        def __init__(self) -> None:
            self.rates: list[float] = []

        def on_train_batch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    fitted(name, **checkpoints(tmp_path))
    watch, whole = Rates(), Rates()
    _, history = resumed(name, tmp_path / "epoch=1.ckpt", max_epochs=5, callbacks=watch)
    assert all(len(values) == 5 for values in history.values())
    fitted(name, max_epochs=5, callbacks=whole)
    assert watch.rates[1:] == pytest.approx(whole.rates[7:])  # the first step still has the old plan's rate


@pytest.mark.bad_input
def test_checkpoints_that_cannot_be_continued(tmp_path: Path) -> None:
    save = pl.callbacks.ModelCheckpoint(tmp_path, filename="middle", every_n_train_steps=2)
    fitted("vae", max_epochs=1, callbacks=save, enable_checkpointing=True)
    with pytest.raises(ValueError, match="from the middle of epoch 1, and fit goes on from the end of one only"):
        resumed("vae", tmp_path / "middle.ckpt")
    trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with training._quiet_lightning():
        trainer.fit(tiny.model("vae"), tiny.loader("vae"))
    trainer.save_checkpoint(tmp_path / "bare.ckpt")
    with pytest.raises(ValueError, match="a checkpoint that fit did not make"):
        resumed("vae", tmp_path / "bare.ckpt")
    with pytest.raises(FileNotFoundError):
        resumed("vae", tmp_path / "none.ckpt")


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["vae", "dense_gan", "gpt"])
def test_files_that_are_no_checkpoints(name: str, tmp_path: Path) -> None:
    model, _ = fitted(name, max_epochs=1, **checkpoints(tmp_path))
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "epoch=0.ckpt").read_bytes()[:5_000])
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    for call in (lambda path: resumed(name, path), type(model).load_from_checkpoint):
        with pytest.raises(ValueError, match=r"cut\.ckpt' cannot be read as a checkpoint: it was cut off"):
            call(tmp_path / "cut.ckpt")
        with pytest.raises(ValueError, match=r"weights\.pt' is not a checkpoint .* model\.load_state_dict\("):
            call(tmp_path / "weights.pt")


@pytest.mark.bad_input
def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    fitted("vae", max_epochs=1, **checkpoints(tmp_path))
    path = tmp_path / "epoch=0.ckpt"
    for kind in (gan.GAN, gpt.NextTokenTraining):
        with pytest.raises(TypeError) as error:
            kind.load_from_checkpoint(path)
        assert "made by a model of the class VAE" in error.value.__notes__[0]
    with pytest.raises(RuntimeError) as mismatch:
        resumed("autoencoder", path)
    assert "load_from_checkpoint(path) builds the model as it was" in mismatch.value.__notes__[0]


def test_beginning_again_is_said(tmp_path: Path) -> None:
    save = pl.callbacks.ModelCheckpoint(tmp_path, save_last=True)
    with pytest.warns(UserWarning, match="there is no last checkpoint available"):
        fitted("vae", callbacks=save, ckpt_path="last")


def test_a_checkpoint_that_is_never_written_is_said(tmp_path: Path) -> None:
    save = pl.callbacks.ModelCheckpoint(tmp_path, monitor="val_loss")
    with pytest.warns(UserWarning, match=r"could not find the monitored key .*'train_loss'"):
        fitted("vae", callbacks=save)


def test_the_last_checkpoint_of_another_training_is_said(tmp_path: Path) -> None:
    def save() -> pl.callbacks.ModelCheckpoint:
        return pl.callbacks.ModelCheckpoint(tmp_path / "kept", save_last=True)

    fitted("vae", callbacks=save())
    fitted("vae", callbacks=save(), ckpt_path=tmp_path / "kept" / "last.ckpt", max_epochs=3)
    assert torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)["epoch"] == 2
    with pytest.warns(UserWarning, match=r"last\.ckpt' is the last checkpoint of another training and stays so"):
        fitted("vae", callbacks=save())
    assert torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)["epoch"] == 2


# --- the stop button --------------------------------------------------------------------------------------------------


class Stop(pl.Callback):
    """Presses the stop button in the second batch of the third epoch."""

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        if trainer.current_epoch == 2 and arguments[-1] == 1:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", ["vae", "dense_gan", "dqn"])
def test_the_stop_button_leaves_the_curve(name: str) -> None:
    data, model = tiny.data(name), tiny.model(name)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.warns(UserWarning, match=r"training was stopped in epoch 3; the curve has 2 epochs\."):
        history = training.fit(model, data, max_epochs=9, accelerator="cpu", callbacks=Stop())
    assert history
    assert all(len(values) == 2 for values in history.values())
    assert not model.training
    assert signal.getsignal(signal.SIGINT) is handler  # it works a second time
    if name == "dqn":
        assert data.games is None
        assert data.evaluation_games is None
    else:
        _, whole = fitted(name, max_epochs=9, limit_train_batches=3)
        assert {key: values[0] for key, values in history.items()} == {key: values[0] for key, values in whole.items()}


def test_the_stop_button_before_the_first_batch() -> None:
    class Early(pl.Callback):
        def setup(self, *arguments: Any, **stage: Any) -> None:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.warns(UserWarning, match="stopped in epoch 1; the curve has 0 epochs"):
        assert fitted("vae", callbacks=Early())[1] == {}
    assert signal.getsignal(signal.SIGINT) is handler


class StopsAtTheEnd(training.EpochLogger):
    """Is stopped while the second epoch's figures are logged: they are not complete, and not to be in the curve."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.layer(batch[0]).square().mean()
        self.collect(train_loss=loss)
        return loss

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        self.log("judged", 1.0)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_an_epoch_whose_end_is_interrupted_is_left_out() -> None:
    with pytest.warns(UserWarning, match="in epoch 2; the curve has 1 epochs"):
        history = training.fit(StopsAtTheEnd(), tiny.loader("mixture"), max_epochs=3, accelerator="cpu")
    assert {name: len(values) for name, values in history.items()} == {"train_loss": 1, "judged": 1}


def test_half_a_model_never_goes_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))

    def train() -> tuple[pl.LightningModule, dict[str, list[float]]]:
        return fitted("vae", max_epochs=9, callbacks=Stop())

    with pytest.raises(KeyboardInterrupt):
        training.cached("half", {}, train, lambda: tiny.model("vae"))
    assert not list((tmp_path / "models").glob("half*.pt"))
    with pytest.warns(UserWarning, match="in epoch 3"):  # outside the cache the button works as before
        train()


SCRIPT = """
import time, tiny, torch
import pytorch_lightning as pl
from aigc_course import training

class Slow(pl.Callback):
    def on_train_batch_end(self, trainer, *arguments):
        if trainer.current_epoch:
            print("running", flush=True)
            time.sleep(0.2)

history = training.fit(tiny.model("vae"), tiny.loader("vae"), max_epochs=200, accelerator="cpu", callbacks=Slow())
print(len(history["train_loss"]), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_script_is_stopped_or_ended(python: Any, kind: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    child = python("-c", SCRIPT)
    assert child.stdout.readline() == "running\n"
    child.send_signal(kind)
    said = next((line for line in child.stdout if line != "running\n"), "nothing")
    if kind == signal.SIGTERM:
        assert said == "nothing"
        child.wait(timeout=30)
    else:
        assert int(said) in (1, 2)  # fit has returned the curve so far, and the script goes on …
        child.send_signal(kind)  # … until it is stopped as well
        assert child.wait(timeout=30) != 0
