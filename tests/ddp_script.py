"""Train on as many CPU processes as asked for and print the curves: tests/test_training.py runs this as a script.

It is no test of its own, because Lightning starts the second process by running the first one's command again, and
below pytest that is the whole of pytest.
"""

import json
import os
import sys
from typing import Any

import pytorch_lightning as pl

from aigc_course import training
from aigc_course.data import ImageData
from aigc_course.vae import VAE, Autoencoder


def curves(devices: int) -> dict[str, dict[str, list[float]]]:
    """Train an autoencoder on all pictures at a time, and a VAE on small batches; return both curves."""
    options: dict[str, Any] = {"accelerator": "cpu", "devices": devices, "strategy": "ddp" if devices > 1 else "auto"}
    histories = {}
    for name, kind, batch_size in (("full batch", Autoencoder, 4000), ("small batches", VAE, 100)):
        pl.seed_everything(0, verbose=False)
        model = kind(latent_dim=8, width=64)
        histories[name] = training.fit(model, ImageData(batch_size=batch_size), max_epochs=4, **options)
    return histories


if __name__ == "__main__":
    result = curves(int(sys.argv[1]))
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(json.dumps(result))
