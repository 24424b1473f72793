"""Exact likelihoods: causality by gradients, sums over all pictures, determinants, integrals, the training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import likelihood, training

FOUR = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).view(16, 1, 2, 2)  # all pictures of 2×2 pixels


def a_table() -> Tensor:
    return torch.randn(16, generator=torch.Generator().manual_seed(0)).softmax(dim=0)


def pixelcnn(shape: tuple[int, int, int] = (1, 2, 2), **options: Any) -> likelihood.PixelCNN:
    torch.manual_seed(1)
    return likelihood.PixelCNN(shape, **{"channels": 8, "layers": 2, **options})


# --- the PixelCNN -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [3, 5])
def test_a_logit_depends_on_all_pixels_before_it_and_on_no_other(layers: int) -> None:
    height, width = 5, 6
    model = pixelcnn((1, height, width), layers=layers)
    x = torch.rand(1, 1, height, width).round().requires_grad_()
    logits = model.logits(x)[0, 0]
    for place in range(height * width):
        i, j = divmod(place, width)
        seen = torch.autograd.grad(logits[i, j], x, retain_graph=True)[0].flatten() != 0
        assert not seen[place:].any(), "it sees itself or what comes later"
        assert seen[:place].all(), "a blind spot"


def test_with_mask_b_a_logit_sees_its_own_pixel_and_none_that_comes_later() -> None:
    model, x = pixelcnn((1, 4, 4), mask="B"), torch.rand(1, 1, 4, 4).requires_grad_()
    seen = torch.autograd.grad(model.logits(x)[0, 0, 2, 1], x)[0].flatten() != 0
    assert seen.nonzero().flatten().tolist() == list(range(10))


@pytest.mark.parametrize(("mask", "sums_to_one"), [("A", True), ("B", False)])
def test_the_probabilities_of_all_pictures_sum_to_one_unless_the_network_peeks(mask: str, sums_to_one: bool) -> None:
    model = pixelcnn(mask=mask)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    total = model.log_prob(FOUR).exp().sum().item()
    assert (abs(total - 1) < 1e-5) == sums_to_one


def test_it_learns_a_table_of_probabilities_and_its_conditionals() -> None:
    model, table = pixelcnn(), a_table()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    for _ in range(500):
        loss = -(table * model(FOUR)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        slower.step()
    found = model.log_prob(FOUR).detach().exp()
    torch.testing.assert_close(found, table, rtol=0.01, atol=0)
    # By brute force: each factor is a quotient of two sums over pictures that agree up to a pixel.
    flat = FOUR.flatten(1)
    factors = model.pixel_log_prob(FOUR).detach().exp().flatten(1)
    for number, picture in enumerate(flat):
        for pixel in range(4):
            upto, before = (found[(flat[:, :n] == picture[:n]).all(dim=1)].sum() for n in (pixel + 1, pixel))
            assert factors[number, pixel] == pytest.approx(float(upto / before), rel=1e-3)
    # And drawing gives each picture as often as its probability says.
    torch.manual_seed(0)
    drawn = model.sample(20_000).flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0])
    shares = torch.bincount(drawn.long(), minlength=16) / 20_000
    torch.testing.assert_close(shares, table, rtol=0, atol=0.015)


def test_small_kernels_do_what_masked_ones_do() -> None:
    torch.manual_seed(0)
    layer, v = likelihood.GatedLayer(4, 4, 4, places=1), torch.randn(2, 4, 6, 7)
    masked = F.conv2d(v, F.pad(layer.vertical.weight, (0, 0, 0, 1)), layer.vertical.bias, padding=1)
    torch.testing.assert_close(layer.vertical(F.pad(v, (1, 1, 1, 0))), masked)


def test_completing_keeps_what_is_given_and_draws_as_one_pixel_after_the_other_would() -> None:
    model = pixelcnn((1, 6, 5), layers=3)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)
    x = torch.rand(3, 1, 6, 5).round()
    torch.manual_seed(2)
    quick = model.complete(x, 2)
    assert torch.equal(quick[:, :, :2], x[:, :, :2])
    torch.manual_seed(2)
    slow = x.clone()
    for i in range(2, 6):
        for j in range(5):
            with torch.no_grad():
                slow[:, 0, i, j] = torch.bernoulli(model.logits(slow)[:, 0, i, j].sigmoid())
    assert torch.equal(quick, slow)
    assert model.sample(2).shape == (2, 1, 6, 5)


# --- the flow ---------------------------------------------------------------------------------------------------------


def jacobian_log_det(f: Any, x: Tensor) -> Tensor:
    jacobian = torch.autograd.functional.jacobian(lambda one: f(one[None])[0][0], x)
    return torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel())).logabsdet


def points_flow(couplings: int = 4) -> likelihood.Flow:
    torch.manual_seed(0)
    masks = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    networks = [nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4)) for _ in range(couplings)]
    return likelihood.Flow([likelihood.Coupling(net, masks[k % 2]) for k, net in enumerate(networks)]).double()


def picture_flow(levels: int = 2, shape: tuple[int, int, int] = (1, 2, 2), **options: Any) -> likelihood.RealNVP:
    torch.manual_seed(0)
    marginals = torch.rand(levels, *shape) + 0.2
    model = likelihood.RealNVP(marginals / marginals.sum(dim=0), **{"couplings": 6, "width": 8, **options})
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.1)
    return model


def test_the_determinant_of_points_is_that_of_the_whole_jacobian() -> None:
    flow, x = points_flow(), torch.randn(5, 2, dtype=torch.double)
    z, log_det = flow(x)
    for point, ours in zip(x, log_det, strict=True):
        torch.testing.assert_close(jacobian_log_det(flow, point), ours)
    torch.testing.assert_close(flow.inverse(z), x)


@pytest.mark.parametrize("shape", [(1, 4, 8), (2, 2, 2), (1, 3, 3)])
def test_the_determinant_of_pictures_is_that_of_the_whole_jacobian(shape: tuple[int, int, int]) -> None:
    model = picture_flow(shape=shape).double()
    v = F.pixel_unshuffle(torch.randn(2, *shape, dtype=torch.double), model.patch)
    z, log_det = model.flow(v)
    assert log_det.abs().min() > 1e-3
    for one, ours in zip(v, log_det, strict=True):
        torch.testing.assert_close(jacobian_log_det(model.flow, one), ours)
    torch.testing.assert_close(model.flow.inverse(z), v)


def test_a_coupling_keeps_what_its_mask_says() -> None:
    mask = torch.tensor([1.0, 0.0, 1.0])
    torch.manual_seed(0)
    layer, x = likelihood.Coupling(nn.Linear(3, 6), mask), torch.randn(9, 3)
    y, _ = layer(x)
    assert torch.equal(y[:, mask == 1], x[:, mask == 1])
    assert (y[:, mask == 0] != x[:, mask == 0]).all()


def test_the_density_of_points_integrates_to_one() -> None:
    flow, side = points_flow(), torch.linspace(-12, 12, 601, dtype=torch.double)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(side, side)).exp()
    assert float(density.sum() * (side[1] - side[0]) ** 2) == pytest.approx(1, abs=0.01)


def box_integral(model: likelihood.RealNVP, x: Tensor, places: int = 12) -> Tensor:
    """P(x) by midpoints in the box of a picture of 2×2 pixels; they miss a little of the tails of the outer boxes."""
    u = torch.cartesian_prod(*[(torch.arange(places) + 0.5) / places] * 4).view(-1, 1, 2, 2)
    edges: Any = model.edges
    level = (x * (model.levels - 1)).long()[None]
    low, high = edges[:-1].gather(0, level)[0], edges[1:].gather(0, level)[0]
    v = torch.special.ndtri(low + (high - low) * u)
    log_ratio = model.flow.log_prob(F.pixel_unshuffle(v, model.patch)) - likelihood.standard_normal(v)
    return log_ratio.exp().mean() * (high - low).prod()


@pytest.mark.parametrize("levels", [2, 3])
@torch.no_grad()
def test_all_boxes_together_hold_the_whole_density(levels: int) -> None:
    model = picture_flow(levels)
    torch.manual_seed(1)
    v = 2 * torch.randn(200_000, 1, 2, 2)  # wider than the density, so that its tails are seen
    wide = torch.distributions.Normal(0, 2).log_prob(v).flatten(1).sum(dim=1)
    ratio = (model.flow.log_prob(F.pixel_unshuffle(v, model.patch)) - wide).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)


@torch.no_grad()
def test_the_probabilities_of_all_pictures_sum_to_one_and_many_draws_reach_them() -> None:
    levels = 2
    model = picture_flow(levels)
    values = torch.linspace(0, 1, levels)
    pictures = torch.cartesian_prod(*[values] * 4).view(-1, 1, 2, 2)
    exactly = torch.stack([box_integral(model, x) for x in pictures])
    assert float(exactly.sum()) == pytest.approx(1, abs=0.01)
    torch.manual_seed(0)
    bounds = {k: model.bound(pictures.repeat(500, 1, 1, 1), k).view(500, -1) for k in (1, 10, 50)}
    torch.testing.assert_close(bounds[50].exp().mean(dim=0), exactly, rtol=0.05, atol=2e-4)
    one, ten, fifty = (values.mean(dim=0) for values in bounds.values())
    assert (one < exactly.log() + 0.1).all(), "a lower bound"
    assert one.mean() < ten.mean() < fifty.mean() < exactly.log().mean() + 0.01
    drawn = (model.sample(20_000).flatten(1) * (levels - 1)).round() @ torch.tensor(
        [float(levels) ** power for power in (3, 2, 1, 0)]
    )
    shares = torch.bincount(drawn.long(), minlength=levels**4) / 20_000
    torch.testing.assert_close(shares, exactly, rtol=0, atol=0.015)


def test_a_new_flow_is_the_model_of_independent_pixels() -> None:
    torch.manual_seed(0)
    x = torch.rand(50, 1, 4, 4).round()
    marginals = likelihood.pixel_marginals(x, 2)
    torch.testing.assert_close(marginals[1], (x.sum(dim=0) + 10 * x.mean()) / 60, rtol=1e-2, atol=0)
    coins = torch.distributions.Bernoulli(marginals[1]).log_prob(x).flatten(1).sum(dim=1)
    torch.testing.assert_close(likelihood.RealNVP(marginals).bound(x), coins, rtol=0, atol=1e-3)


def test_marginals_of_grey_levels() -> None:
    x = torch.tensor([0.0, 0.0, 0.5, 1.0]).view(4, 1, 1, 1)
    marginals = likelihood.pixel_marginals(x, 3, smoothing=1e-6).flatten()
    torch.testing.assert_close(marginals, torch.tensor([0.5, 0.25, 0.25]))
    assert (likelihood.pixel_marginals(x, 256) > 0).all()


def test_it_learns_that_pixels_belong_together() -> None:
    table = a_table()
    lit = (table[:, None, None, None] * FOUR).sum(dim=0)
    torch.manual_seed(0)
    model = likelihood.RealNVP(torch.stack([1 - lit, lit]), couplings=6, width=16)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(300):
        loss = -model(FOUR[torch.multinomial(table, 200, replacement=True)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = torch.stack([box_integral(model, x) for x in FOUR])
    alone = torch.distributions.Bernoulli(lit).log_prob(FOUR).sum(dim=(1, 2, 3)).exp()
    divergences = [(table * (table / q).log()).sum().item() for q in (found, alone)]
    assert divergences[0] < 0.5 * divergences[1]


# --- training, recipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [0, 2, 256])
def test_recipes_train_and_are_kept(levels: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    trained: Any = likelihood.train_flow(levels, "smoke") if levels else likelihood.train("smoke")
    model, history = trained
    assert set(history) == {"train_loss", "val_loss"}
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    again = likelihood.pretrained_flow(levels, "smoke") if levels else likelihood.pretrained("smoke")
    draws = []
    for one in (model, again):
        torch.manual_seed(0)
        draws.append(one.sample(1))
    assert torch.equal(*draws)


@pytest.mark.parametrize("make", [lambda: pixelcnn((1, 4, 4), layers=3), lambda: picture_flow(shape=(1, 4, 4))])
def test_a_checkpoint_brings_the_model_back(make: Any, tmp_path: Any) -> None:
    data = torch.utils.data.TensorDataset(torch.rand(8, 1, 4, 4).round(), torch.zeros(8))
    model = make()
    training.fit(model, torch.utils.data.DataLoader(data, batch_size=4), max_epochs=1, enable_progress_bar=False)
    model.trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = type(model).load_from_checkpoint(tmp_path / "model.ckpt")
    results = []
    for one in (model, again):
        torch.manual_seed(0)
        results.append(one(data.tensors[0]))
    assert torch.equal(*results)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: likelihood.PixelCNN((3, 4, 4)), r"shape is \(3, 4, 4\); the pictures have one channel"),
        (lambda: likelihood.PixelCNN((4, 4)), r"shape is \(4, 4\)"),
        (lambda: likelihood.PixelCNN((1, 0, 4)), "shape's height is 0"),
        (lambda: likelihood.PixelCNN(channels=0), "channels is 0"),
        (lambda: likelihood.PixelCNN(layers=0), "layers is 0"),
        (lambda: likelihood.PixelCNN(learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: likelihood.PixelCNN(mask="C"), "mask is 'C'; it takes 'A'"),
        (lambda: pixelcnn().log_prob(torch.full((1, 1, 2, 2), 0.5)), "values between the levels; the model takes 2"),
        (lambda: pixelcnn().log_prob(torch.zeros(1, 1, 3, 3)), r"shape \(1, 1, 3, 3\); it takes \(batch, 1, 2, 2\)"),
        (lambda: pixelcnn().log_prob(torch.full((1, 1, 2, 2), 2.0)), "x has values from 2 to 2"),
        (lambda: pixelcnn().sample(0), "n is 0"),
        (lambda: pixelcnn().complete(FOUR, -1), "rows is -1"),
        (lambda: likelihood.Coupling(nn.Identity(), torch.tensor([0.5])), "mask has values other than 0 and 1"),
        (lambda: likelihood.Coupling(nn.Identity(), torch.ones(2), most=0.0), "most is 0.0"),
        (lambda: likelihood.RealNVP(torch.ones(2, 1, 2, 2)), "probabilities above 0 that sum to 1"),
        (lambda: likelihood.RealNVP(torch.ones(2, 2)), r"marginals has the shape \(2, 2\)"),
        (lambda: picture_flow(couplings=0), "couplings is 0"),
        (lambda: picture_flow(width=0), "width is 0"),
        (lambda: picture_flow().bound(FOUR, 0), "k is 0"),
        (lambda: picture_flow().bound(FOUR / 2), "values between the levels"),
        (lambda: picture_flow(3).bound(torch.full((1, 1, 2, 2), 0.4)), "the model takes 3"),
        (lambda: picture_flow().sample(0), "n is 0"),
        (lambda: likelihood.pixel_marginals(FOUR, 1), "levels is 1"),
        (lambda: likelihood.pixel_marginals(FOUR, 2, smoothing=0.0), "smoothing is 0.0"),
        (lambda: likelihood.flow_recipe(3), "levels is 3; it takes 2"),
        (lambda: likelihood.recipe("fast"), "profile is 'fast'"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.bad_input
def test_grey_pictures_are_refused_in_training() -> None:
    data = torch.utils.data.TensorDataset(torch.full((8, 1, 2, 2), 0.3))
    with pytest.raises(ValueError, match="data set 'binary_digits'"):
        training.fit(pixelcnn(), torch.utils.data.DataLoader(data, batch_size=4), max_epochs=1)
