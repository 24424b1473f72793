"""Flow matching: the field of two Gaussians, and a model that draws in one step against flows whose ends are known."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aigc_course import diffusion, flow_matching, training

MEAN, STD = 1.5, 0.4


class Velocity(nn.Module):
    """The field that carries standard normal noise to a normal distribution, in closed form."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        t = t[:, None]
        variance = (1 - t) ** 2 * STD**2 + t**2
        return -MEAN + (t - (1 - t) * STD**2) / variance * (x - (1 - t) * MEAN)


class Ends(nn.Module):
    """The velocity that names the true ends of that flow's paths: x - t v = MEAN + STD (the noise they began with)."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        t = t[:, None]
        began = (x - (1 - t) * MEAN) / ((1 - t) ** 2 * STD**2 + t**2).sqrt()
        return (x - MEAN - STD * began) / t.clamp(min=1e-9)


class OnePoint(nn.Module):
    """The field towards a single example: its paths are straight."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return (x - MEAN) / t[:, None].clamp(min=1e-9)


class Points(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(18, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.net(torch.cat([x, diffusion.time_features(t, 16)], dim=1))


def small(**options: Any) -> diffusion.UNet:
    return diffusion.UNet((1, 8, 8), 8, **options)


def test_a_regression_on_pairs_finds_the_field_of_two_gaussians() -> None:
    torch.manual_seed(0)
    x0, noise = MEAN + STD * torch.randn(200_000, 1), torch.randn(200_000, 1)
    path, places = diffusion.straight_path(), torch.tensor([[0.0], [1.0], [2.0]])
    for time in (0.1, 0.5, 0.9):
        t = torch.full((len(x0),), time)
        x = path.noisy(x0, t, noise)
        at = (*path.shares(t[:, None]), *path.slopes(t[:, None]))
        target = diffusion.PREDICTIONS["velocity"].target(x0, noise, *at)
        lines = torch.linalg.lstsq(torch.cat([x, torch.ones_like(x)], dim=1), target).solution
        found = torch.cat([places, torch.ones_like(places)], dim=1) @ lines
        torch.testing.assert_close(found, Velocity()(places, torch.full((3,), time)), rtol=0, atol=0.05)


def test_the_loss_of_the_exact_field_is_the_part_that_no_network_can_avoid() -> None:
    torch.manual_seed(0)
    x0 = MEAN + STD * torch.randn(200_000, 1)
    model = diffusion.Diffusion(Velocity(), path="straight", ema_decay=0.0)
    t = torch.linspace(0, 1, 100_001)
    variance = (1 - t) ** 2 * STD**2 + t**2
    left = (1 + STD**2 - (t - (1 - t) * STD**2) ** 2 / variance).mean()  # Var(u | x_t) of two normal numbers
    assert float(model.loss(x0)) == pytest.approx(float(left), rel=0.02)
    model.network = Ends()
    assert float(model.loss(x0)) > float(left) + 0.05


def test_the_true_ends_are_consistent_up_to_the_error_of_a_short_step() -> None:
    losses = []
    for steps in (16, 32, 64):
        torch.manual_seed(0)
        x0 = (MEAN + STD * torch.randn(20_000, 1)).double()
        model = flow_matching.Consistency(Velocity(), steps=steps, ema_decay=0.0).double()
        plain = float(model.loss(x0))
        model.network = Ends()
        losses.append(float(model.loss(x0)))
        assert losses[-1] < 0.1 * plain
    # Euler's error in one step is of the order h^2, so that its square falls to a sixteenth when h is halved.
    for coarse, fine in pairwise(losses):
        assert 8 < coarse / fine < 32


def test_on_straight_paths_any_grid_will_do() -> None:
    torch.manual_seed(0)
    for steps in (1, 3, 10):
        model = flow_matching.Consistency(OnePoint(), steps=steps, ema_decay=0.0)
        assert float(model.loss(torch.full((50, 2), MEAN))) < 1e-9
        drawn = diffusion.ddim(model.guess(), model.path, torch.randn(50, 2), 1)
        torch.testing.assert_close(drawn, torch.full((50, 2), MEAN))


def test_with_one_step_the_target_is_the_step_of_the_flow() -> None:
    torch.manual_seed(0)
    flow = Points()
    model = flow_matching.Consistency(flow, steps=1, ema_decay=0.0)
    assert float(model.loss(torch.randn(40, 2)).detach()) == pytest.approx(0, abs=1e-12)


def test_every_batch_sees_the_whole_grid_and_only_the_student_learns() -> None:
    torch.manual_seed(0)
    model = flow_matching.Consistency(small(num_classes=3), steps=4)
    seen = []
    model.network.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    before = copy.deepcopy(model.flow.state_dict())
    model.loss(torch.randn(8, 1, 8, 8), torch.arange(8) % 3).backward()
    earlier, later = seen
    torch.testing.assert_close(later - earlier, torch.full((8,), 0.25))
    assert sorted(later.tolist()) == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0]
    assert all(weight.grad is None for weight in model.flow.parameters())
    assert all(weight.grad is not None for weight in model.network.parameters())
    for name, weight in model.flow.state_dict().items():
        assert torch.equal(weight, before[name])


def test_it_learns_to_draw_points_in_one_step() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    examples = centres[torch.arange(2048) % 2] + 0.1 * torch.randn(2048, 2)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(examples), batch_size=256, shuffle=True)
    flow = diffusion.Diffusion(Points(), path="straight", learning_rate=5e-3)
    training.fit(flow, loader, max_epochs=100, enable_progress_bar=False)
    model = flow_matching.Consistency(flow.network, learning_rate=5e-3)
    training.fit(model, loader, max_epochs=100, enable_progress_bar=False)
    noise = torch.randn(1000, 2)
    away = {}
    for name, drawer in (("flow", flow), ("one step", model)):
        drawn = diffusion.ddim(drawer.guess(), drawer.path, noise, 1)
        away[name] = float(torch.cdist(drawn, centres).min(dim=1).values.median())
    assert away["flow"] > 1  # in the middle between the two
    assert away["one step"] < 0.4


def test_a_checkpoint_brings_student_flow_and_settings_back(tmp_path: Any) -> None:
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(8, 1, 8, 8), torch.arange(8) % 3)
    model = flow_matching.Consistency(small(num_classes=3), steps=5, untold=0.3)
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    training.fit(model, loader, max_epochs=1, enable_progress_bar=False, limit_train_batches=2)
    model.trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = flow_matching.Consistency.load_from_checkpoint(tmp_path / "model.ckpt")
    assert (again.steps, again.untold) == (5, 0.3)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.6])
    torch.testing.assert_close(again.guess()(x, t), model.guess()(x, t))
    torch.testing.assert_close(again.flow(x, t), model.flow(x, t))


def test_the_recipes_train_and_are_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    flow, history = flow_matching.train("smoke")
    assert history["val_loss"][-1] < 1.8  # a network that says 0 has about 1.9
    model, history = flow_matching.train_consistency("smoke")
    assert set(history) == {"train_loss", "val_loss"}
    assert flow.averaged is not None
    x, t, labels = torch.randn(2, 1, 28, 28), torch.tensor([0.3, 0.6]), torch.tensor([3, 7])
    torch.testing.assert_close(model.flow(x, t, labels), flow.averaged.module(x, t, labels))
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    again = flow_matching.pretrained("smoke"), flow_matching.pretrained_consistency("smoke")
    for old, new in zip((flow, model), again, strict=True):
        drawn = [diffusion.ddim(m.guess(labels), m.path, x, 1) for m in (old, new)]
        assert torch.equal(*drawn)


def test_the_flow_has_the_network_of_the_diffusion_model() -> None:
    for profile in training.PROFILES:
        ours, theirs = flow_matching.recipe(profile), diffusion.recipe(profile)
        assert ours["model"].pop("path") == "straight"
        theirs["model"].pop("path")
        assert ours == theirs
        assert flow_matching.consistency_recipe(profile)["model"]["flow"] == flow_matching.recipe(profile)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flow_matching.Consistency(Points(), steps=0), "steps is 0"),
        (lambda: flow_matching.Consistency(Points(), steps=2.5), "steps is 2.5"),  # type: ignore[arg-type]
        (lambda: flow_matching.Consistency(Points(), learning_rate=-1.0), "learning_rate is -1.0"),
        (lambda: flow_matching.Consistency(Points(), ema_decay=1.0), "ema_decay is 1.0"),
        (lambda: flow_matching.recipe("fast"), "profile is 'fast'"),
        (lambda: flow_matching.consistency_recipe("fast"), "profile is 'fast'"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.bad_input
def test_examples_and_labels_that_do_not_fit() -> None:
    model = flow_matching.Consistency(small(num_classes=3))
    with pytest.raises(ValueError, match="the network takes"):
        model.training_step((torch.rand(4, 1, 12, 12), torch.zeros(4, dtype=torch.long)), 0)
    with pytest.raises(ValueError, match="labels run from 3 to 3"):
        model.training_step((torch.rand(4, 1, 8, 8), torch.full((4,), 3)), 0)
