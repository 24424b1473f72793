"""The Gaussian mixture against closed forms, torch.distributions and scikit-learn."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from aigc_course import training
from aigc_course.data import load_images
from aigc_course.mixture import (
    GaussianMixture,
    GradientMixture,
    PointData,
    em_step,
    fit_em,
    gaussian_log_prob,
    initialise,
)


def random_mixture(k: int, d: int, seed: int = 0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(k, generator=generator, dtype=torch.float64) + 0.2
    means = 3 * torch.randn(k, d, generator=generator, dtype=torch.float64)
    roots = torch.randn(k, d, d, generator=generator, dtype=torch.float64)
    return GaussianMixture(weights / weights.sum(), means, roots @ roots.mT + 0.3 * torch.eye(d, dtype=torch.float64))


def points(k: int = 3, d: int = 2, n: int = 400, seed: int = 0) -> Tensor:
    return random_mixture(k, d, seed).sample(n, torch.Generator().manual_seed(seed + 1))


def sklearn_mixture(start: GaussianMixture, **options: float) -> SklearnMixture:
    return SklearnMixture(
        len(start.weights),
        weights_init=start.weights.numpy(),
        means_init=start.means.numpy(),
        precisions_init=np.linalg.inv(start.covariances.numpy()),
        **options,
    )


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Training and test digits along the ten directions in which the training digits vary most."""
    train, test = (load_images("digits", split)[0].flatten(1).double() for split in ("train", "test"))
    directions = torch.linalg.svd(train - train.mean(0), full_matrices=False).Vh[:10]
    return (train - train.mean(0)) @ directions.T, (test - train.mean(0)) @ directions.T


# --- density ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 4), (3, 2), (5, 7)])
def test_density_is_that_of_torch_distributions(k, d):
    mixture = random_mixture(k, d)
    x = 4 * torch.randn(50, d, dtype=torch.float64)
    components = MultivariateNormal(mixture.means, mixture.covariances)
    assert torch.allclose(mixture.log_prob(x), MixtureSameFamily(Categorical(mixture.weights), components).log_prob(x))
    assert torch.allclose(
        gaussian_log_prob(x, mixture.means, mixture.scale_tril), components.log_prob(x[:, None].expand(-1, k, -1))
    )


def test_density_integrates_to_one():
    mixture = random_mixture(3, 2)
    axis = torch.linspace(-30, 30, 1201, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    assert mixture.log_prob(grid).exp().sum() * float(axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-6)


def test_density_far_away_neither_overflows_nor_vanishes():
    mixture = random_mixture(3, 2)
    far = torch.full((1, 2), 1e4, dtype=torch.float64)
    assert mixture.log_joint(far).exp().sum() == 0, "the sum of the densities underflows there"
    assert mixture.log_prob(far).isfinite().all()
    assert mixture.responsibilities(far).sum().item() == pytest.approx(1)


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_responsibilities_are_probabilities_and_follow_bayes_rule(seed, k, d):
    mixture = random_mixture(k, d, seed)
    x = 5 * torch.randn(20, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = mixture.responsibilities(x)
    assert found.shape == (20, k)
    assert (found >= 0).all()
    assert torch.allclose(found.sum(dim=1), torch.ones(20, dtype=torch.float64))
    for j in range(k):  # log p(k|x) + log p(x) = log π_k + log N_k(x), wherever p(k|x) has not rounded to 0
        component = MultivariateNormal(mixture.means[j], mixture.covariances[j])
        seen = found[:, j] > 1e-200
        left = found[seen, j].log() + mixture.log_prob(x[seen])
        assert torch.allclose(left, mixture.weights[j].log() + component.log_prob(x[seen]))


def test_single_precision_points_meet_a_double_precision_mixture():
    mixture, x = random_mixture(2, 3), torch.randn(5, 3)
    assert torch.equal(mixture.log_prob(x), mixture.log_prob(x.double()))


def test_a_component_of_weight_zero_takes_no_part():
    two = random_mixture(2, 2)
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
    with_idle = GaussianMixture(weights, two.means, two.covariances)
    alone = GaussianMixture(weights[:1], two.means[:1], two.covariances[:1])
    x = points()
    assert torch.allclose(with_idle.log_prob(x), alone.log_prob(x))
    assert (with_idle.responsibilities(x)[:, 1] == 0).all()


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_samples_have_the_moments_of_the_mixture():
    mixture = random_mixture(3, 2)
    x = mixture.sample(200_000, torch.Generator().manual_seed(0))
    mean = mixture.weights @ mixture.means
    centred = mixture.means - mean
    spread = mixture.covariances + centred[:, :, None] * centred[:, None]
    covariance = (mixture.weights[:, None, None] * spread).sum(dim=0)
    assert torch.allclose(x.mean(dim=0), mean, atol=0.03)
    assert torch.allclose(torch.cov(x.T), covariance, atol=0.15)
    # The average of -log p over samples of p is the entropy, which one Gaussian with these moments exceeds.
    entropy = -mixture.log_prob(x).mean()
    assert entropy < MultivariateNormal(mean, covariance).entropy()


def test_samples_come_from_the_components_by_their_weights():
    mixture = GaussianMixture(
        torch.tensor([0.2, 0.8]), torch.tensor([[-100.0], [100.0]]), torch.tensor([[[1.0]], [[4.0]]])
    )
    x = mixture.sample(50_000, torch.Generator().manual_seed(0))
    assert (x < 0).double().mean().item() == pytest.approx(0.2, abs=0.01)
    assert x[x < 0].std().item() == pytest.approx(1, abs=0.05)
    assert x[x > 0].std().item() == pytest.approx(2, abs=0.05), "the square root of the variance, not the variance"


def test_a_generator_makes_samples_repeatable():
    mixture = random_mixture(3, 2)
    first, second = (mixture.sample(5, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, mixture.sample(5, torch.Generator().manual_seed(8)))


# --- expectation maximisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_one_component_is_the_sample_mean_and_covariance(seed):
    x = points(seed=seed)
    mixture, curve = fit_em(x, 1, reg_covar=0.0, seed=seed)
    assert torch.allclose(mixture.weights, torch.ones(1, dtype=torch.float64))
    assert torch.allclose(mixture.means[0], x.mean(dim=0))
    assert torch.allclose(mixture.covariances[0], torch.cov(x.T, correction=0))
    # At the maximum the quadratic forms average to d, whatever the data.
    _, log_det = torch.linalg.slogdet(2 * math.pi * math.e * torch.cov(x.T, correction=0))
    assert curve[-1] == pytest.approx(-0.5 * log_det.item())


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.sampled_from([0.0, 1e-6, 1e-2, 1.0]))
@settings(deadline=None, max_examples=40)
def test_a_step_of_em_never_lowers_the_log_likelihood(seed, k, d, reg_covar):
    """Without regularisation not at all, with it by no more than the M-step gives away (see `em_step`).

    The exact M-step, with covariances S, raises the lower bound of the log-likelihood as far as it goes. S + ϵI instead
    costs ½ Σ_k π_k [log det(I + ϵ S⁻¹) + tr((S + ϵI)⁻¹ S) - d] of it, and the log-likelihood stays above the bound.
    """
    x = points(k=3, d=d, n=150, seed=seed)
    mixture = initialise(x, k, seed=seed, reg_covar=reg_covar)
    before = float(mixture.log_prob(x).mean())
    for _ in range(8):
        if mixture.responsibilities(x).sum(dim=0).min() < 10:
            break  # so few points may be one point: the collapse has tests of its own
        mixture = em_step(mixture, x, reg_covar=reg_covar)
        after = float(mixture.log_prob(x).mean())
        axes = torch.linalg.eigvalsh(mixture.covariances)
        lost = 0.5 * (mixture.weights[:, None] * ((axes / (axes - reg_covar)).log() - reg_covar / axes)).sum()
        assert lost >= 0
        assert after >= before - float(lost) - 1e-10
        if reg_covar == 0:
            assert after >= before - 1e-10
        before = after


def test_the_curve_is_that_of_single_steps():
    x = points()
    start = initialise(x, 3, seed=4)
    mixture, curve = fit_em(x, 3, start=start, tol=0.0, max_steps=5)
    steps = [start]
    for _ in range(5):
        steps.append(em_step(steps[-1], x))
    assert curve == pytest.approx([float(step.log_prob(x).mean()) for step in steps])
    assert torch.allclose(mixture.means, steps[-1].means)
    assert torch.allclose(mixture.covariances, steps[-1].covariances)
    assert torch.allclose(mixture.weights, steps[-1].weights)


def test_em_stops_when_a_step_changes_little():
    x = points()
    _, coarse = fit_em(x, 3, tol=1e-2)
    _, fine = fit_em(x, 3, tol=1e-6)
    assert fine[: len(coarse)] == coarse
    assert coarse[-1] - coarse[-2] < 1e-2 <= coarse[-2] - coarse[-3]
    assert len(coarse) < len(fine) < 201


@given(st.integers(0, 1000), st.permutations(range(4)))
@settings(deadline=None, max_examples=20)
def test_the_order_of_components_means_nothing(seed, order):
    mixture, x = random_mixture(4, 2, seed), points(seed=seed, n=100)
    shuffled = GaussianMixture(mixture.weights[order], mixture.means[order], mixture.covariances[order])
    assert torch.allclose(mixture.log_prob(x), shuffled.log_prob(x))
    assert torch.allclose(mixture.responsibilities(x)[:, order], shuffled.responsibilities(x))
    one, other = em_step(mixture, x), em_step(shuffled, x)
    assert torch.allclose(one.means[order], other.means)
    assert torch.allclose(one.covariances[order], other.covariances)


@pytest.mark.parametrize("reg_covar", [1e-6, 1e-2])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_each_step_is_scikit_learns(steps, reg_covar):
    x = points(k=4, d=3)
    start = initialise(x, 4, seed=1)
    ours, _ = fit_em(x, 4, start=start, reg_covar=reg_covar, tol=0.0, max_steps=steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = sklearn_mixture(start, reg_covar=reg_covar, tol=0.0, max_iter=steps).fit(x.numpy())
    np.testing.assert_allclose(ours.weights, theirs.weights_, atol=1e-8)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-7)
    np.testing.assert_allclose(ours.covariances, theirs.covariances_, atol=1e-7)
    np.testing.assert_allclose(ours.responsibilities(x), theirs.predict_proba(x.numpy()), atol=1e-7)


def test_the_fit_is_scikit_learns_on_held_out_digits(digits):
    train, test = digits
    start = initialise(train, 8, seed=0, reg_covar=1e-3)
    ours, curve = fit_em(train, 8, start=start, reg_covar=1e-3, tol=1e-6, max_steps=500)
    theirs = sklearn_mixture(start, reg_covar=1e-3, tol=1e-6, max_iter=500).fit(train.numpy())
    assert theirs.converged_
    assert len(curve) < 500
    assert ours.log_prob(test).mean().item() == pytest.approx(theirs.score(test.numpy()), abs=1e-3)


def test_em_finds_the_mixture_that_made_the_data():
    truth = GaussianMixture(
        torch.tensor([0.2, 0.5, 0.3]).double(),
        torch.tensor([[-6.0, 0.0], [0.0, 4.0], [6.0, -1.0]]).double(),
        torch.tensor([[[1.0, 0.5], [0.5, 1.0]], [[2.0, 0.0], [0.0, 0.3]], [[0.5, -0.2], [-0.2, 1.0]]]).double(),
    )
    x = truth.sample(20_000, torch.Generator().manual_seed(0))
    found, _ = max((fit_em(x, 3, seed=seed) for seed in range(3)), key=lambda fit: fit[1][-1])
    order = found.means[:, 0].argsort()
    assert torch.allclose(found.weights[order], truth.weights, atol=0.02)
    assert torch.allclose(found.means[order], truth.means, atol=0.06)
    assert torch.allclose(found.covariances[order], truth.covariances, atol=0.06)


def test_regularisation_holds_a_component_that_collapses_on_a_point():
    x = torch.cat([points(n=50), torch.tensor([[80.0, 80.0]]).double()])
    mixture, curve = fit_em(x, 4, seed=0, reg_covar=1e-4)
    on_the_point = mixture.covariances[mixture.responsibilities(x)[-1].argmax()]
    assert torch.allclose(on_the_point, 1e-4 * torch.eye(2, dtype=torch.float64), atol=1e-8)
    assert np.isfinite(curve).all()


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 2), (5, 5), (3, 2)])
def test_as_many_components_as_points_still_gives_a_density(n, k):
    x = torch.arange(2.0 * n, dtype=torch.float64).view(n, 2) ** 2
    mixture, curve = fit_em(x, k, reg_covar=1e-3)
    assert np.isfinite(curve).all()
    assert mixture.log_prob(x).isfinite().all()


def test_equal_points_get_a_mixture_as_narrow_as_the_regularisation():
    mixture, _ = fit_em(torch.ones(10, 2), 3, reg_covar=1e-2)
    assert torch.allclose(mixture.means, torch.ones(3, 2).double())
    assert torch.allclose(mixture.covariances, 1e-2 * torch.eye(2).double().expand(3, 2, 2))


@given(st.integers(0, 1000), st.integers(1, 10), st.sampled_from([0.0, 1e8]))
@settings(deadline=None, max_examples=40)
def test_the_start_has_its_means_on_different_points(seed, k, shift):
    x = points(n=30) + shift
    start = initialise(x, k, seed=seed)
    same = (x[:, None] == start.means).all(dim=2)  # (points, components)
    assert (same.sum(dim=0) == 1).all()
    assert (same.sum(dim=1) <= 1).all()
    assert start.weights.sum().item() == pytest.approx(1)
    assert (start.weights > 0).all()


def test_the_seed_decides_the_start():
    x = points()
    assert torch.equal(initialise(x, 3, seed=5).means, initialise(x, 3, seed=5).means)
    assert not torch.equal(initialise(x, 3, seed=5).means, initialise(x, 3, seed=6).means)
    state = torch.get_rng_state()
    initialise(x, 3)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"


# --- gradient descent -------------------------------------------------------------------------------------------------


def test_the_free_parameters_stand_for_the_mixture_they_came_from():
    start = random_mixture(4, 3)
    model = GradientMixture(start)
    x = points(d=3)
    assert torch.allclose(model.log_prob(x.float()).double(), start.log_prob(x), atol=1e-4)
    assert torch.allclose(model.mixture().covariances, start.covariances, rtol=1e-5)
    assert torch.allclose(model.mixture().weights, start.weights, rtol=1e-5)


def test_any_numbers_are_a_valid_mixture():
    model = GradientMixture(random_mixture(4, 3))
    for _ in range(20):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(2 * torch.randn_like(parameter))
        mixture = model.mixture()  # which checks weights and covariances
        assert torch.allclose(
            model.log_prob(points(d=3).float()).double(), mixture.log_prob(points(d=3).float()), rtol=1e-3, atol=1e-3
        )


def test_the_gradient_of_the_means_is_that_of_the_formula():
    """The derivative of log p(x) by μ_k is r_k Σ_k⁻¹ (x - μ_k); by the logit a_k it is r_k - π_k."""
    start, x = random_mixture(3, 2), points(n=20)
    model = GradientMixture(start)
    model.log_prob(x.float()).sum().backward()
    r = start.responsibilities(x)
    pulls = torch.linalg.solve(start.covariances, (x[:, None] - start.means).permute(1, 2, 0))  # (k, d, n)
    expected = torch.einsum("nk,kdn->kd", r, pulls)
    assert model.means.grad is not None
    assert model.logits.grad is not None
    assert torch.allclose(model.means.grad.double(), expected, rtol=1e-3, atol=1e-3)
    assert torch.allclose(model.logits.grad.double(), (r - start.weights).sum(dim=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_gradient_descent_reaches_what_em_reaches(seed):
    x = points(k=3, d=2, n=600, seed=seed)
    start = initialise(x, 3, seed=0)
    em, curve = fit_em(x, 3, start=start, tol=1e-7, max_steps=1000)
    model = GradientMixture(start, learning_rate=0.1)
    history = training.fit(model, PointData(x, x, batch_size=100), max_epochs=40)
    assert set(history) == {"train_loss", "val_loss"}
    reached = model.mixture().log_prob(x).mean().item()
    assert curve[0] < reached - 0.1, "there was something to learn"
    assert reached == pytest.approx(curve[-1], abs=1e-3)
    assert history["val_loss"][-1] == pytest.approx(-reached, abs=1e-4)
    assert torch.allclose(model.mixture().means, em.means, atol=0.1)


def test_the_data_come_in_whole_batches_and_in_a_new_order():
    train, validation = torch.arange(10.0)[:, None], torch.arange(5.0)[:, None]
    data = PointData(train, validation, batch_size=4)
    batches = [batch[0] for batch in data.train_dataloader()]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat(batches).sort(dim=0).values, train)
    assert not torch.equal(torch.cat(batches), train)
    assert torch.equal(torch.cat([batch[0] for batch in data.val_dataloader()]), validation)


# --- bad input --------------------------------------------------------------------------------------------------------

ONE = torch.ones(1)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("weights", "means", "covariances", "message"),
    [
        (ONE, torch.zeros(2), torch.eye(2)[None], r"means has the shape \(2,\)"),
        (ONE, torch.zeros(1, 0), torch.zeros(1, 0, 0), r"means has the shape \(1, 0\)"),
        (torch.ones(2) / 2, torch.zeros(1, 2), torch.eye(2)[None], r"weights has the shape \(2,\).*takes \(1,\)"),
        (ONE, torch.zeros(1, 2), torch.ones(1, 2), r"covariances has the shape \(1, 2\).*takes \(1, 2, 2\)"),
        (2 * ONE, torch.zeros(1, 2), torch.eye(2)[None], "sum to 1"),
        (torch.tensor([1.5, -0.5]), torch.zeros(2, 1), torch.ones(2, 1, 1), "numbers ≥ 0"),
        (ONE, torch.full((1, 2), math.nan), torch.eye(2)[None], "means has values that are not finite"),
        (ONE, torch.zeros(1, 2), torch.tensor([[[1.0, 0.5], [0.0, 1.0]]]), "not symmetric"),
        (
            ONE,
            torch.zeros(1, 2),
            torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]),
            r"covariances\[0\] is not positive definite",
        ),
    ],
)
def test_a_mixture_that_is_none(weights, means, covariances, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(weights, means, covariances)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5), r"x has the shape \(5,\); it takes \(n, 2\)"),
        (torch.zeros(5, 3), r"x has the shape \(5, 3\); it takes \(n, 2\)"),
        (torch.zeros(0, 2), r"x has the shape \(0, 2\)"),
        (torch.tensor([[0.0, math.nan]]), "NaN"),
        (torch.tensor([[0.0, math.inf]]), "infinite"),
    ],
)
def test_points_that_are_none(x, message):
    mixture = random_mixture(2, 2)
    for use in (mixture.log_prob, mixture.responsibilities, mixture.log_joint, lambda x: em_step(mixture, x)):
        with pytest.raises(ValueError, match=message):
            use(x)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components is 0; with 6 points it takes 1 to 6"),
        ({"n_components": -1}, "n_components is -1"),
        ({"n_components": 7}, "n_components is 7; with 6 points it takes 1 to 6"),
        ({"reg_covar": -1e-6}, "reg_covar is -1e-06"),
        ({"reg_covar": math.nan}, "reg_covar is nan"),
        ({"tol": -1.0}, "tol is -1.0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"x": torch.zeros(6)}, r"x has the shape \(6,\); it takes \(n, d\)"),
        ({"x": torch.zeros(0, 2)}, r"x has the shape \(0, 2\)"),
        ({"x": torch.full((6, 2), math.nan)}, "NaN"),
        ({"start": random_mixture(3, 2)}, r"start has means of the shape \(3, 2\).*takes \(2, 2\)"),
        ({"start": random_mixture(2, 3)}, r"start has means of the shape \(2, 3\).*takes \(2, 2\)"),
    ],
)
def test_a_fit_that_cannot_be(options, message):
    arguments = {"x": torch.arange(12.0).view(6, 2), "n_components": 2, **options}
    with pytest.raises(ValueError, match=message):
        fit_em(arguments.pop("x"), arguments.pop("n_components"), **arguments)


@pytest.mark.bad_input
def test_a_collapse_without_regularisation_says_what_to_do():
    with pytest.raises(ValueError, match="larger reg_covar"):
        fit_em(torch.ones(5, 2), 1, reg_covar=0.0)
    with pytest.raises(ValueError, match="reg_covar is -1"):
        em_step(random_mixture(2, 2), torch.zeros(3, 2), reg_covar=-1.0)


@pytest.mark.bad_input
def test_other_arguments_out_of_range():
    mixture = random_mixture(2, 2)
    with pytest.raises(ValueError, match="n is 0"):
        mixture.sample(0)
    with pytest.raises(ValueError, match=r"learning_rate is 0\.0"):
        GradientMixture(mixture, learning_rate=0.0)
    idle = GaussianMixture(torch.tensor([1.0, 0.0]).double(), mixture.means, mixture.covariances)
    with pytest.raises(ValueError, match=r"weights \[1\.0, 0\.0\]; it takes weights above 0"):
        GradientMixture(idle)
    with pytest.raises(ValueError, match="batch_size is 0"):
        PointData(torch.zeros(3, 2), torch.zeros(3, 2), batch_size=0)
    with pytest.raises(ValueError, match=r"x has the shape \(3, 3\); it takes \(n, 2\)"):
        PointData(torch.zeros(3, 2), torch.zeros(3, 3))
