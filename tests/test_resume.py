"""What is stopped can go on: checkpoints hold all that is needed, a stop button leaves the curve, nothing half-trained
is taken for a whole model."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from torch import nn
from torch.nn.utils import parametrize

from aigc_course import gan, gpt, training


def fitted(name: str, **options: Any) -> tuple[pl.LightningModule, dict[str, list[float]]]:
    model = tiny.model(name)
    history = training.fit(model, tiny.data(name), **{"max_epochs": 2, "accelerator": "cpu", **options})
    return model, history


def checkpoints(folder: Path) -> dict[str, Any]:
    save = pl.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    return {"callbacks": save, "enable_checkpointing": True}


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
    model = gpt.merge_adapters(gpt.add_adapters(gpt.GPT(11, 6, heads=2, width=8), 2))
    checkpoint: dict[str, Any] = {}
    model.on_save_checkpoint(checkpoint)
    assert checkpoint == {"adapters": {}}
