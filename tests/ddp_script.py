"""Train on as many CPU processes as asked for and print the curves: tests/test_training.py runs this as a script.

It is no test of its own, because Lightning starts the second process by running the first one's command again, and
below pytest that is the whole of pytest.
"""

import json
import os
import sys
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, DistributedSampler

from aigc_course import training
from aigc_course.data import ImageData
from aigc_course.vae import VAE, Autoencoder


class FixedOrder(ImageData):
    """The same pictures in the same batches every time, however many processes share them."""

    def train_dataloader(self) -> DataLoader[Any]:
        loader = self._loader("train")
        trainer = self.trainer
        assert trainer is not None
        # Lightning would shuffle; with a sampler of ours it does not. Each process takes every world_size-th picture.
        sampler: Any = DistributedSampler(loader.dataset, trainer.world_size, trainer.global_rank, shuffle=False)
        return DataLoader(loader.dataset, loader.batch_size, sampler=sampler, collate_fn=loader.collate_fn)


def curves(devices: int, strategy: str = "ddp") -> dict[str, dict[str, list[float]]]:
    """Train an autoencoder on batches in a fixed order, and a VAE as the chapters do; return both curves."""
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": devices,
        "strategy": strategy if devices > 1 else "auto",
    }
    histories = {}
    for name, kind, data in (("fixed", Autoencoder, FixedOrder), ("shuffled", VAE, ImageData)):
        pl.seed_everything(0, verbose=False)
        model = kind(latent_dim=8, width=256, learning_rate=1e-3)
        histories[name] = training.fit(model, data(batch_size=100), max_epochs=3, **options)
        if isinstance(model, Autoencoder):  # without noise: what the weights that came back are worth
            images, _ = ImageData().split("validation")
            with torch.no_grad():
                histories[name]["weights"] = [-float(model(images).mean())]
    return histories


if __name__ == "__main__":
    result = curves(int(sys.argv[1]), *sys.argv[2:])
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(json.dumps(result))
