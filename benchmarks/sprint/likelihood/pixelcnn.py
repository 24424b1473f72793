"""The course's PixelCNN, with averaged weights, for as long as the budget allows."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aigc_course.likelihood import PixelCNN

STEPS, BATCH, RATE, DECAY = 1_950, 10, 3e-3, 0.998


class Logits(nn.Module):
    def __init__(self, model: PixelCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.logits(x)


def train(pictures: Tensor, seed: int, steps: int = STEPS) -> nn.Module:
    torch.manual_seed(seed)
    model = Logits(PixelCNN(channels=32, layers=6))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    optimizer = torch.optim.AdamW(model.parameters(), RATE, (0.9, 0.99), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 100, 1 - step / steps))
    for _ in range(steps):
        x = pictures[torch.randint(len(pictures), (BATCH,))]
        loss = F.binary_cross_entropy_with_logits(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        averaged.update_parameters(model)
    return averaged.module
