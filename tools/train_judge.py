"""Make the judge's weights, aigc_course/judge.safetensors, by the one fixed recipe; about two minutes on one core.

Run from the repository's root: python -m tools.train_judge. Only the training split of the digits is used (4,000
pictures). The recipe was chosen on the validation split. The test split is measured once, at the end, and MNIST's own
test digits too if they are asked for: python -m tools.train_judge mnist. With the same PyTorch, machine and number of
threads a second run gives the same bytes; the script prints their checksum, which belongs into `JUDGE_SHA256`.
"""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aigc_course import metrics
from aigc_course.data import load_images, random_affine
from aigc_course.data.files import written_whole

EPOCHS, BATCH = 40, 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.05
AVERAGE_DECAY = 0.995  # of the weights' moving average, a step
AUGMENTATION = {"rotate": 12.0, "shift": 2.0, "scale": 0.12}


def measure(judge: torch.nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return accuracy and cross-entropy in nats."""
    judge.eval()
    with torch.no_grad():
        logits = torch.cat([judge(part) for part in images.split(500)])
    return float((logits.argmax(1) == labels).float().mean()), float(F.cross_entropy(logits, labels))


def train() -> metrics.Judge:
    """Train by the recipe and return the judge with averaged weights."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    images, labels = load_images("digits", "train")
    held_out = load_images("digits", "validation")
    judge = metrics.Judge()
    average = AveragedModel(judge, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY), use_buffers=True)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, EPOCHS * steps, pct_start=0.15)
    for epoch in range(1, EPOCHS + 1):
        judge.train()
        for batch in torch.randperm(len(images)).split(BATCH)[:steps]:
            logits = judge(random_affine(images[batch], **AUGMENTATION).clamp(0, 1))
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(judge)
        if epoch % 5 == 0:
            accuracy, nats = measure(average, *held_out)
            print(f"epoch {epoch:3}  validation accuracy {accuracy:.4f}  cross-entropy {nats:.4f} nats", flush=True)
    judge.load_state_dict(average.module.state_dict())
    return judge.eval()


def calibrate(judge: metrics.Judge) -> None:
    """Scale the last layer so that the judge is as sure as it is right, measured on the validation split.

    Label smoothing and averaging leave it too modest. One factor on all logits changes no decision; the best one has
    the lowest cross-entropy (Guo et al., 2017, "On Calibration of Modern Neural Networks",
    https://arxiv.org/abs/1706.04599).
    """
    images, labels = load_images("digits", "validation")
    with torch.no_grad():
        logits = judge(images)
        factors = torch.linspace(0.5, 4.0, 351)
        costs = torch.stack([F.cross_entropy(factor * logits, labels) for factor in factors])
        factor = factors[costs.argmin()]
        judge.head.weight.mul_(factor)
        judge.head.bias.mul_(factor)
    print(f"logits times {factor:.2f}: validation cross-entropy {costs.min():.4f} nats")


def main() -> None:
    """Train, measure, and put the file into place whole."""
    judge = train()
    calibrate(judge)
    # The file holds the weights as they come; sorted by name, so that equal weights give equal bytes.
    content = save({name: weight.contiguous() for name, weight in sorted(judge.state_dict().items())})
    target = Path(metrics.__file__).with_name("judge.safetensors")
    with written_whole(target) as part:
        part.write_bytes(content)
    for name in ("digits", *sys.argv[1:]):
        accuracy, nats = measure(judge, *load_images(name, "test"))
        print(f"{name}, test: accuracy {accuracy:.4f}  cross-entropy {nats:.4f} nats")
    print(f"{target} has {len(content):,} bytes. In aigc_course/metrics.py:")
    print(f'JUDGE_SHA256 = "{hashlib.sha256(content).hexdigest()}"')


if __name__ == "__main__":
    main()
