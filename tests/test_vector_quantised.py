"""Vector quantisation: the nearest code, the gradient that passes it, the codebook's care, the model, its prior."""

import math
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from aigc_course import training
from aigc_course import vector_quantised as vq
from aigc_course.gpt import GPT, GPTConfig

# --- the nearest code -------------------------------------------------------------------------------------------------


def test_the_nearest_code_is_that_of_brute_force() -> None:
    z, codebook = torch.randn(3, 7, 5), torch.randn(11, 5)
    found = vq.nearest_codes(z, codebook)
    for batch in range(3):
        for place in range(7):
            squares = [float((z[batch, place] - code).square().sum()) for code in codebook]
            assert found[batch, place] == squares.index(min(squares))


def test_of_equal_codes_the_first_is_taken() -> None:
    codebook = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert vq.nearest_codes(torch.tensor([[1.0, 0.1], [0.1, 1.0]]), codebook).tolist() == [0, 1]


def test_a_code_is_its_own_nearest() -> None:
    codebook = torch.randn(20, 4)
    assert vq.nearest_codes(codebook, codebook).tolist() == list(range(20))


def test_without_the_trick_no_gradient_reaches_the_encoder() -> None:
    z, codebook = torch.randn(6, 3, requires_grad=True), torch.randn(5, 3)
    chosen = codebook[vq.nearest_codes(z, codebook)]
    assert not chosen.requires_grad


def test_the_gradient_passes_as_if_nothing_were_there() -> None:
    z, chosen, weight = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3), torch.randn(6, 3)
    passed = vq.straight_through(z, chosen)
    torch.testing.assert_close(passed, chosen)
    (passed.sin() * weight).sum().backward()
    torch.testing.assert_close(z.grad, chosen.cos() * weight)  # the slope at the chosen point, not at z


@pytest.mark.parametrize("count", [1, 2, 64])
def test_the_perplexity_of_equal_shares_is_their_number(count: int) -> None:
    assert vq.code_perplexity(torch.full((count,), 1 / count)) == pytest.approx(count, rel=1e-5)
    padded = torch.cat([torch.full((count,), 1 / count), torch.zeros(3)])  # codes that nobody uses do not count
    assert vq.code_perplexity(padded) == pytest.approx(count, rel=1e-5)


def test_the_perplexity_of_uneven_shares() -> None:
    shares = torch.tensor([0.5, 0.25, 0.25])
    assert vq.code_perplexity(shares) == pytest.approx(2**1.5, rel=1e-5)  # one and a half bits


def test_shares_are_counted() -> None:
    shares = vq.code_usage(torch.tensor([[0, 2], [2, 2]]), 4)
    assert shares.tolist() == [0.25, 0, 0.75, 0]


# --- the codebook's care ----------------------------------------------------------------------------------------------


def start(codes: int = 4, dim: int = 3) -> vq.RunningMeans:
    return vq.RunningMeans(torch.randn(codes, dim), torch.full((codes,), 1 / codes))


def test_at_fixed_data_the_codebook_becomes_the_means_of_its_vectors() -> None:
    z, codes = torch.randn(50, 3), torch.arange(50) % 3  # the code 3 is never used
    old = means = start()
    for _ in range(300):
        means = vq.running_means(means, z, codes, decay=0.9)
    for code in range(3):
        torch.testing.assert_close(means.codebook[code], z[codes == code].mean(dim=0))
    assert torch.equal(means.codebook[3], old.codebook[3])
    torch.testing.assert_close(means.usage, vq.code_usage(codes, 4), atol=1e-6, rtol=0)
    assert means.usage.sum() == pytest.approx(1, abs=1e-5)


def test_without_memory_it_is_a_step_of_k_means() -> None:
    z, codes = torch.randn(50, 3), torch.arange(50) % 3
    means = vq.running_means(start(), z, codes, decay=0.0)
    for code in range(3):
        torch.testing.assert_close(means.codebook[code], z[codes == code].mean(dim=0))


def test_usage_times_codes_is_the_running_average_of_the_sums() -> None:
    decay, means = 0.8, start()
    sums = means.usage[:, None] * means.codebook  # m of the paper's appendix, its N being our usage
    for _ in range(5):
        z, codes = torch.randn(40, 3), torch.randint(4, (40,))
        means = vq.running_means(means, z, codes, decay)
        batch = torch.stack([z[codes == code].sum(dim=0) for code in range(4)]) / 40
        sums = decay * sums + (1 - decay) * batch
    torch.testing.assert_close(means.codebook, sums / means.usage[:, None])


def test_a_code_that_was_never_used_stays_finite() -> None:
    means = vq.RunningMeans(torch.randn(2, 3), torch.tensor([1.0, 0.0]))
    found = vq.running_means(means, torch.randn(9, 3), torch.zeros(9, dtype=torch.long), 0.5)
    assert torch.equal(found.codebook[1], means.codebook[1])
    assert found.codebook.isfinite().all()


def test_only_unused_codes_are_moved_and_to_where_vectors_are() -> None:
    old = vq.RunningMeans(torch.randn(4, 3), torch.tensor([0.5, 0.02, 0.48, 0.0]))
    z = torch.randn(30, 3)
    new = vq.restart_unused(old, z, least=0.1)  # less than 0.1 / 4
    assert torch.equal(new.codebook[[0, 2]], old.codebook[[0, 2]])
    assert all((z == code).all(dim=1).any() for code in new.codebook[[1, 3]])
    assert new.usage.tolist() == pytest.approx([0.5, 0.25, 0.48, 0.25])
    kept = vq.restart_unused(old, z, least=0.0)
    assert torch.equal(kept.codebook, old.codebook)


def test_the_start_finds_groups_that_lie_far_apart() -> None:
    centres = 20 * torch.randn(6, 3)
    sizes = torch.tensor([300, 3, 40, 5, 100, 10])
    z = centres.repeat_interleave(sizes, dim=0) + 0.01 * torch.randn(int(sizes.sum()), 3)
    found = vq.spread_start(z, 6)
    assert sorted(vq.nearest_codes(centres, found).tolist()) == list(range(6))
    torch.testing.assert_close(found[vq.nearest_codes(centres, found)], centres, atol=0.05, rtol=0)


def test_the_start_does_with_equal_vectors() -> None:
    found = vq.spread_start(torch.ones(8, 3), 4)
    assert torch.equal(found, torch.ones(4, 3))


# --- the model --------------------------------------------------------------------------------------------------------


def small(**options: Any) -> vq.VQVAE:
    return vq.VQVAE(**{"num_codes": 6, "code_dim": 3, "shape": (1, 8, 12), "channels": 4, **options})


def loader(count: int = 16, shape: tuple[int, ...] = (1, 8, 12)) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.rand(count, *shape)), batch_size=8)


def test_shapes() -> None:
    model, x = small(shape=(3, 8, 12)), torch.rand(5, 3, 8, 12)
    assert model.places == 6
    codes = model.encode(x)
    assert codes.shape == (5, 6)
    assert model.decode(codes).shape == x.shape
    assert torch.equal(model.reconstruct(x), model.decode(codes).sigmoid())


def test_the_places_stand_row_by_row() -> None:
    model, x = small(), torch.rand(1, 1, 8, 12)
    in_a_grid = model.encoder(x)[0]  # (dim, 2, 3)
    vectors = model.vectors(x)[0]
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(vectors[3 * row + column], in_a_grid[:, row, column])
    torch.testing.assert_close(model.logits(vectors[None]), model.decoder(in_a_grid[None]))


def test_the_encoders_gradient_is_the_decoders_at_the_chosen_codes_and_the_commitment() -> None:
    model, x = small(commitment=0.7), torch.rand(4, 1, 8, 12)
    step = model(x)
    step.z.retain_grad()
    distance = (step.z - step.chosen).square().sum(dim=(1, 2))
    (model.commitment * distance - step.log_likelihood).sum().backward()
    at = step.chosen.detach().clone().requires_grad_()
    vq.bernoulli_log_likelihood(model.logits(at), x).sum().neg().backward()
    assert at.grad is not None
    torch.testing.assert_close(step.z.grad, at.grad + 2 * 0.7 * (step.z - step.chosen).detach())


def test_training_lowers_the_loss_and_uses_the_codes() -> None:
    torch.manual_seed(0)
    x = torch.rand(16, 1, 2, 3).round().repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)  # patches lit or dark
    batches = DataLoader(TensorDataset(x), batch_size=8, shuffle=True)
    model = small(learning_rate=1e-2)
    history = training.fit(model, batches, validation=batches, max_epochs=60, accelerator="cpu")
    assert set(history) == {"train_loss", "val_loss", "val_perplexity"}
    assert history["val_loss"][-1] < 0.2 * history["val_loss"][0]
    assert (model.reconstruct(x).round() == x).float().mean() > 0.98
    assert model.usage.sum() == pytest.approx(1, abs=0.2)  # a restart counts a code as used


def test_nothing_but_the_averages_moves_the_codebook() -> None:
    model = small(spread=False, restart=0.0)
    assert "codebook" not in dict(model.named_parameters())
    before = model.codebook.clone()
    training.fit(model, loader(), max_epochs=1, accelerator="cpu")
    used = model.usage > model.usage.min() + 1e-4
    assert (model.codebook != before).any(dim=1)[used].all()
    assert torch.equal(model.codebook[~used], before[~used])


def test_a_spread_start_uses_every_code_of_the_first_batch() -> None:
    x = torch.rand(8, 1, 8, 12)
    for spread in (True, False):
        torch.manual_seed(3)
        model = small(spread=spread, restart=0.0, learning_rate=1e-9, ema_decay=0.99)
        training.fit(model, DataLoader(TensorDataset(x), batch_size=8), max_epochs=1, accelerator="cpu")
        used = len(model.encode(x).unique())
        assert (used == 6) == spread


# --- the prior --------------------------------------------------------------------------------------------------------


def prior(num_codes: int = 6, classes: int = 3, places: int = 6) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(num_codes + classes, places, layers=1, heads=2, width=8, positions="learned"))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def test_a_row_is_the_class_and_then_the_codes() -> None:
    rows = vq.code_rows(torch.tensor([[0, 5], [2, 2]]), torch.tensor([2, 0]), 6)
    assert rows.tolist() == [[8, 0, 5], [6, 2, 2]]


def test_the_probabilities_of_all_rows_sum_to_one() -> None:
    model = prior(num_codes=3, places=2)
    rows = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    for label in range(3):
        log_p = vq.prior_log_prob(model, rows, torch.full((9,), label), 3)
        assert log_p.exp().sum() == pytest.approx(1, abs=1e-5)


def test_rows_are_drawn_with_their_probabilities() -> None:
    model = prior(num_codes=3, places=2)
    labels = torch.full((20_000,), 1)
    drawn = vq.sample_codes(model, labels, 3, 2)
    rows = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    exact = vq.prior_log_prob(model, rows, torch.full((9,), 1), 3).exp()
    found = vq.code_usage(3 * drawn[:, 0] + drawn[:, 1], 9)
    torch.testing.assert_close(found, exact, atol=0.015, rtol=0)


def test_pictures_of_the_classes_asked_for() -> None:
    model, model_prior = small().eval(), prior()
    torch.manual_seed(1)
    x = vq.sample(model, model_prior, torch.tensor([0, 1, 2, 2]), top_k=1)
    assert x.shape == (4, 1, 8, 12)
    assert bool((x >= 0).all() and (x <= 1).all())
    assert torch.equal(x[2], x[3])  # with the likeliest code at each place there is nothing to draw


def test_the_recipes_train_and_are_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    model, history = vq.train("smoke")
    assert history["val_loss"][-1] < 543  # what equally likely pixels cost
    trained, curve = vq.train_prior("smoke")
    assert curve["val_loss"][-1] < math.log(26)  # sixteen codes and ten classes
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    labels = torch.tensor([3, 7])
    drawn = []
    for parts in ((model, trained), (vq.pretrained("smoke"), vq.pretrained_prior("smoke"))):
        torch.manual_seed(0)
        drawn.append(vq.sample(*parts, labels))
    assert torch.equal(*drawn)
    for profile in training.PROFILES:
        settings = vq.prior_recipe(profile)
        assert settings["codes"] == vq.recipe(profile)
        settings["fit"]["seed"] = 99
        assert vq.prior_recipe(profile)["fit"]["seed"] != 99


def test_the_prior_reads_the_class_and_then_one_code_after_the_other(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    x, y = next(iter(vq.CodeData("smoke", batch_size=50).val_dataloader()))
    assert x.shape == y.shape == (50, 49)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert bool((x[:, 0] >= 16).all() and (y < 16).all())


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "call", [vq.recipe, vq.train, vq.pretrained, vq.prior_recipe, vq.train_prior, vq.pretrained_prior]
)
def test_profiles_that_do_not_exist(call: Any) -> None:
    with pytest.raises(ValueError, match=r"profile is 'fast'"):
        call("fast")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(num_codes=1), "num_codes is 1"),
        (lambda: small(code_dim=0), "code_dim is 0"),
        (lambda: small(channels=0), "channels is 0"),
        (lambda: small(commitment=-1.0), "commitment is -1.0"),
        (lambda: small(ema_decay=1.0), r"ema_decay is 1.0; it takes a number in \[0, 1\)"),
        (lambda: small(restart=-0.1), r"restart is -0.1; it takes a number in \[0, 1\)"),
        (lambda: small(learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: small(shape=(1, 8, 10)), r"shape is \(1, 8, 10\); .* multiples of 4"),
        (lambda: small().encode(torch.rand(2, 1, 8, 8)), r"x has the shape \(2, 1, 8, 8\)"),
        (lambda: small().encode(2 * torch.ones(2, 1, 8, 12)), "x has values from 2 to 2"),
        (lambda: small().decode(torch.zeros(2, 5, dtype=torch.long)), r"codes has the shape \(2, 5\)"),
        (lambda: small().decode(torch.full((2, 6), 6)), "the tokens have values from 6 to 6"),
        (lambda: vq.code_usage(torch.zeros(0, dtype=torch.long), 4), "there are no codes"),
        (lambda: vq.code_usage(torch.tensor([4]), 4), "values from 4 to 4"),
        (lambda: vq.code_perplexity(torch.tensor([0.5, 0.2])), "the shares sum to 0.7"),
        (lambda: vq.code_perplexity(torch.tensor([1.5, -0.5])), "it takes shares ≥ 0"),
        (lambda: vq.spread_start(torch.zeros(3, 2), 4), "there are 3 vectors"),
        (lambda: vq.sample_codes(prior(), torch.tensor([3]), 6, 6), "values from 3 to 3"),
        (lambda: vq.sample_codes(prior(), torch.tensor([0]), 6, 7), "places is 7; the prior's context holds 6"),
        (lambda: vq.sample_codes(prior(), torch.tensor([0]), 9, 6), "num_codes is 9; the prior knows 9 tokens"),
        (lambda: vq.sample_codes(prior(), torch.tensor([0]), 6, 6, temperature=0.0), "temperature is 0.0"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.bad_input
def test_wrong_pictures_are_named_in_training() -> None:
    for data, message in [
        (loader(shape=(1, 8, 8)), r"shape \(8, 1, 8, 8\)"),
        (DataLoader(TensorDataset(2 * torch.ones(8, 1, 8, 12)), batch_size=8), "values from 2 to 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            training.fit(small(), data, max_epochs=1, accelerator="cpu")


def test_a_picture_alone_has_fewer_places_than_codes() -> None:
    alone: DataLoader[Any] = DataLoader(TensorDataset(torch.rand(1, 1, 8, 12)), batch_size=1)
    with pytest.raises(ValueError, match="there are 6 vectors, and the start of 7 codes takes at least as many"):
        training.fit(small(num_codes=7), alone, max_epochs=1, accelerator="cpu")
