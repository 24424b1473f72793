r"""The Gaussian mixture: density, sampling, and two ways to fit it, by EM and by gradient descent.

The module reads from top to bottom: the density of a component, the mixture, the steps of EM, the same mixture as a
`LightningModule`. Log-likelihoods are in nats per point. Sources: Dempster, Laird and Rubin (1977), "Maximum Likelihood
from Incomplete Data via the EM Algorithm", https://doi.org/10.1111/j.2517-6161.1977.tb01600.x; Bishop (2006), "Pattern
Recognition and Machine Learning", chapter 9.
"""

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from aigc_course import training
from aigc_course.tensors import distances

# --- the model --------------------------------------------------------------------------------------------------------


def gaussian_log_prob(
    x: Float[Tensor, "n d"], means: Float[Tensor, "k d"], scale_tril: Float[Tensor, "k d d"]
) -> Float[Tensor, "n k"]:
    r"""Return $\log \mathcal N(x_n; \mu_k, \Sigma_k)$ of every point under every component, in nats.

    $$\log \mathcal N(x; \mu, \Sigma) =
    -\tfrac12 \big(d \log 2\pi + \log\det\Sigma + (x-\mu)^\top \Sigma^{-1} (x-\mu)\big)$$

    `scale_tril` is the Cholesky factor $L$ with $\Sigma = L L^\top$. No matrix is inverted: $\log\det\Sigma$ is twice
    the sum of the logarithms on the diagonal of $L$, and the quadratic form is $\lVert u \rVert^2$ where
    $L u = x - \mu$.
    """
    differences = (x[:, None] - means).permute(1, 2, 0)  # (k, d, n): one right-hand side per point
    u = torch.linalg.solve_triangular(scale_tril, differences, upper=False)
    half_log_det = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return -0.5 * (x.shape[1] * math.log(2 * math.pi) + u.square().sum(dim=1).T) - half_log_det


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    r"""A mixture of $K$ Gaussians in $d$ dimensions, with full covariance matrices.

    $$p(x) = \sum_{k=1}^K \pi_k \, \mathcal N(x; \mu_k, \Sigma_k), \qquad \pi_k \ge 0, \quad \sum_k \pi_k = 1$$

    **Arguments:** `weights` $\pi$, shape (k,); `means` $\mu$, shape (k, d); `covariances` $\Sigma$, shape (k, d, d).

    Raises `ValueError` for shapes that do not fit together, weights that are negative or do not sum to 1, numbers that
    are not finite, and covariances that are not symmetric and positive definite.
    """

    weights: Float[Tensor, " k"]
    means: Float[Tensor, "k d"]
    covariances: Float[Tensor, "k d d"]

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ValueError(f"means has the shape {tuple(self.means.shape)}; it takes (k, d), both at least 1.")
        k, d = self.means.shape
        for name, shape in [("weights", (k,)), ("covariances", (k, d, d))]:
            found = getattr(self, name)
            if found.shape != shape:
                raise ValueError(f"{name} has the shape {tuple(found.shape)}; with these means it takes {shape}.")
        for name in ("weights", "means", "covariances"):
            if not getattr(self, name).isfinite().all():
                raise ValueError(f"{name} has values that are not finite; it takes finite numbers.")
        if self.weights.min() < 0 or abs(float(self.weights.sum()) - 1) > 1e-4:
            raise ValueError(f"weights is {self.weights.tolist()}; it takes numbers ≥ 0 that sum to 1.")
        if not torch.allclose(self.covariances, self.covariances.mT, rtol=1e-4):
            raise ValueError("covariances has a matrix that is not symmetric; it takes symmetric ones.")
        _, failed = torch.linalg.cholesky_ex(self.covariances)
        if failed.any():
            raise ValueError(
                f"covariances[{int(failed.nonzero()[0])}] is not positive definite: the component has no width in some "
                "direction. Give it some; in EM, a larger reg_covar does."
            )

    @property
    def scale_tril(self) -> Float[Tensor, "k d d"]:
        r"""The Cholesky factors: lower triangular $L_k$ with $\Sigma_k = L_k L_k^\top$."""
        return torch.linalg.cholesky(self.covariances)

    def log_joint(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        r"""Return $\log \pi_k + \log \mathcal N(x_n; \mu_k, \Sigma_k)$: the point and the component that made it."""
        x = _points(x, self.means.shape[1]).to(self.means)
        return self.weights.log() + gaussian_log_prob(x, self.means, self.scale_tril)

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        r"""Return the log-density $\log p(x_n) = \log \sum_k \exp(\log \pi_k + \log \mathcal N_k)$, in nats per point.

        Raises `ValueError` for another shape than (n, d) and for values that are not finite, as its neighbours do.
        """
        return self.log_joint(x).logsumexp(dim=1)

    def responsibilities(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        r"""Return $r_{nk} = p(k \mid x_n)$, the posterior probability of each component; the rows sum to 1."""
        return self.log_joint(x).softmax(dim=1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        r"""Draw n points: first a component by its weight, then $x = \mu_k + L_k \varepsilon$ with normal noise.

        Raises `ValueError` for n below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}; it takes a whole number of at least 1.")
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(
            n, self.means.shape[1], generator=generator, dtype=self.means.dtype, device=self.means.device
        )
        return self.means[k] + (self.scale_tril[k] @ noise[:, :, None]).squeeze(2)


def _points(x: Tensor, d: int | None = None) -> Tensor:
    if x.ndim != 2 or 0 in x.shape or (d is not None and x.shape[1] != d):
        raise ValueError(f"x has the shape {tuple(x.shape)}; it takes (n, {d or 'd'}) with at least one point.")
    if not x.isfinite().all():
        raise ValueError("x has values that are not finite (NaN or infinite); it takes finite numbers.")
    return x


# --- expectation maximisation -----------------------------------------------------------------------------------------


def initialise(
    x: Float[Tensor, "n d"], n_components: int, *, seed: int = 0, reg_covar: float = 1e-6
) -> GaussianMixture:
    """Return a mixture to start from: means on points of the data that lie apart, one covariance for all.

    The first mean is a random point; each further one is drawn with a probability proportional to the squared distance
    to the nearest mean so far (k-means++; Arthur and Vassilvitskii, 2007). Every point then counts for its nearest
    mean, which gives the weights; the covariance is that of the points about those means, plus `reg_covar` on its
    diagonal. Two means may still fall into one cluster, so several seeds are worth trying.

    Raises `ValueError` for n_components below 1 or above the number of points, a negative reg_covar, and data that
    are not finite numbers of the shape (n, d).
    """
    x = _points(x).double()
    if not 1 <= n_components <= len(x):
        raise ValueError(f"n_components is {n_components}; with {len(x)} points it takes 1 to {len(x)}.")
    if not reg_covar >= 0:
        raise ValueError(f"reg_covar is {reg_covar}; it takes a number ≥ 0.")
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(x), (), generator=generator))]
    for _ in range(n_components - 1):
        distance = distances(x, x[chosen]).min(dim=1).values.square()
        if not distance.any():  # fewer different points than components: any point will do
            distance = torch.ones(len(x), dtype=x.dtype)
        chosen.append(int(torch.multinomial(distance, 1, generator=generator)))
    nearest = distances(x, x[chosen]).argmin(dim=1)
    differences = x - x[chosen][nearest]
    covariance = differences.T @ differences / len(x) + reg_covar * torch.eye(x.shape[1], dtype=x.dtype)
    # One more point for each component, so that none starts with the weight 0, which EM could not change.
    weights = torch.bincount(nearest, minlength=n_components).double() + 1
    return GaussianMixture(weights / weights.sum(), x[chosen], covariance.expand(n_components, -1, -1).contiguous())


def em_step(mixture: GaussianMixture, x: Float[Tensor, "n d"], *, reg_covar: float = 1e-6) -> GaussianMixture:
    r"""Return the mixture after one E-step and one M-step.

    $$r_{nk} = p(k \mid x_n), \quad N_k = \sum_n r_{nk}, \quad \pi_k = \frac{N_k}{N}, \quad
    \mu_k = \frac{1}{N_k} \sum_n r_{nk} x_n, \quad
    \Sigma_k = \frac{1}{N_k} \sum_n r_{nk} (x_n - \mu_k)(x_n - \mu_k)^\top + \epsilon I$$

    with $\epsilon$ = `reg_covar`, as scikit-learn adds it, which keeps a component from shrinking onto a point. With
    $\epsilon = 0$ the log-likelihood never falls. Otherwise it can fall, but per point by no more than
    $\tfrac12 \sum_k \pi_k \sum_j f(\epsilon / s_{kj})$, where $f(t) = \log(1 + t) - t / (1 + t) \le t^2 / 2$ and
    $s_{kj}$ are the variances of component $k$ along its axes before $\epsilon$ was added. Bishop (2006), 9.2.2.

    Raises `ValueError` where `GaussianMixture` and `initialise` do.
    """
    if not reg_covar >= 0:
        raise ValueError(f"reg_covar is {reg_covar}; it takes a number ≥ 0.")
    x = _points(x, mixture.means.shape[1]).to(mixture.means)
    return _m_step(x, mixture.responsibilities(x), reg_covar)


def _m_step(x: Tensor, responsibilities: Tensor, reg_covar: float) -> GaussianMixture:
    # The tiny number keeps a component that no point belongs to from dividing by zero.
    counts = responsibilities.sum(dim=0) + 10 * torch.finfo(x.dtype).eps
    means = responsibilities.T @ x / counts[:, None]
    regular = reg_covar * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    covariances = []
    for k in range(len(counts)):  # one after the other, since (n, k, d, d) numbers would not fit into memory
        differences = x - means[k]
        covariance = (responsibilities[:, k, None] * differences).T @ differences / counts[k]
        covariances.append((covariance + covariance.T) / 2 + regular)
    return GaussianMixture(counts / counts.sum(), means, torch.stack(covariances))


def fit_em(
    x: Float[Tensor, "n d"],
    n_components: int,
    *,
    seed: int = 0,
    start: GaussianMixture | None = None,
    reg_covar: float = 1e-6,
    tol: float = 1e-4,
    max_steps: int = 200,
) -> tuple[GaussianMixture, list[float]]:
    """Fit a mixture by EM, in double precision; return it with its mean log-likelihood after 0, 1, 2, … steps.

    **Arguments:**

    - `x`: the points; `n_components`: K.
    - `seed`: of the start that `initialise` makes; `start`: the mixture to start from instead.
    - `reg_covar`: added to the variances, see `em_step`.
    - `tol`: EM ends when a step changes the mean log-likelihood by less than this, in nats per point.
    - `max_steps`: or after so many steps.

    Raises `ValueError` where `initialise` does, for a start with another number of components or dimensions, for a
    negative `tol` and for `max_steps` below 1.
    """
    if not tol >= 0:
        raise ValueError(f"tol is {tol}; it takes a number ≥ 0.")
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; it takes a whole number of at least 1.")
    fresh = initialise(x, n_components, seed=seed, reg_covar=reg_covar)  # which also checks the arguments
    mixture = fresh if start is None else start
    if mixture.means.shape != fresh.means.shape:
        raise ValueError(
            f"start has means of the shape {tuple(mixture.means.shape)}; with {n_components} components and these "
            f"points it takes {tuple(fresh.means.shape)}."
        )
    x = x.double()
    mixture = GaussianMixture(mixture.weights.double(), mixture.means.double(), mixture.covariances.double())
    log_joint = mixture.log_joint(x)
    curve = [float(log_joint.logsumexp(dim=1).mean())]
    for _ in range(max_steps):
        mixture = _m_step(x, log_joint.softmax(dim=1), reg_covar)
        log_joint = mixture.log_joint(x)  # serves the log-likelihood now and the responsibilities of the next step
        curve.append(float(log_joint.logsumexp(dim=1).mean()))
        if abs(curve[-1] - curve[-2]) < tol:
            break
    return mixture, curve


# --- gradient descent -------------------------------------------------------------------------------------------------


class PointData(pl.LightningDataModule):
    """Points in memory as Lightning wants them: batches of the shape (batch, d), in single precision.

    **Arguments:** `train` and `validation`: the points, (n, d); `batch_size`: at least 1.

    Raises `ValueError` for other shapes, values that are not finite, and a batch size below 1.
    """

    def __init__(self, train: Float[Tensor, "n d"], validation: Float[Tensor, "m d"], *, batch_size: int = 256) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it takes a whole number of at least 1.")
        self.train = TensorDataset(_points(train).float())
        self.validation = TensorDataset(_points(validation, train.shape[1]).float())
        self.batch_size = batch_size

    def _loader(self, dataset: TensorDataset, shuffle: bool) -> DataLoader[Any]:
        order = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
        # A whole batch is one indexing operation, not one for each point.
        return DataLoader(dataset, batch_size=None, sampler=BatchSampler(order, self.batch_size, drop_last=False))

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the training points, in a new order every epoch."""
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of the validation points."""
        return self._loader(self.validation, shuffle=False)


class GradientMixture(pl.LightningModule):
    r"""The same mixture, fitted by gradient descent on minus the mean log-likelihood, in nats per point.

    A step along the gradient keeps no constraint, so the parameters are numbers without any:
    $\pi = \operatorname{softmax}(a)$, and $\Sigma_k = L_k L_k^\top$ with $L_k$ lower triangular, its diagonal the
    exponential of what is stored there. Logged once an epoch: `train_loss`, `val_loss`.

    **Arguments:** `start`: the mixture to start from, such as `initialise` gives; `learning_rate`: Adam's, above 0; it
    falls to nothing along a cosine.

    Raises `ValueError` for a learning rate that is not positive and for weights of `start` that are 0, which no softmax
    gives.
    """

    def __init__(self, start: GaussianMixture, *, learning_rate: float = 0.05) -> None:
        super().__init__()
        if not learning_rate > 0:
            raise ValueError(f"learning_rate is {learning_rate}; it takes a number above 0.")
        if not start.weights.min() > 0:
            raise ValueError(f"start has the weights {start.weights.tolist()}; it takes weights above 0.")
        self.learning_rate = learning_rate
        self.save_hyperparameters(ignore=["start"])
        self.logits = nn.Parameter(start.weights.float().log())
        self.means = nn.Parameter(start.means.float().clone())
        tril = start.scale_tril
        log_diagonal = tril.diagonal(dim1=-2, dim2=-1).log().diag_embed()
        self.factors = nn.Parameter((tril.tril(-1) + log_diagonal).float())

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, **options: Any) -> Any:  # type: ignore[override]
        """Return the model of a checkpoint that Lightning wrote; `options` as in Lightning."""
        means = torch.load(checkpoint_path, map_location="cpu", weights_only=True)["state_dict"]["means"]
        k, d = means.shape  # all that is needed of the start: its values are replaced by the checkpoint's
        start = GaussianMixture(torch.full((k,), 1 / k), torch.zeros(k, d), torch.eye(d).expand(k, d, d))
        return super().load_from_checkpoint(checkpoint_path, **{"start": start, "weights_only": True, **options})

    @property
    def scale_tril(self) -> Float[Tensor, "k d d"]:
        """The Cholesky factors that the free parameters stand for."""
        return self.factors.tril(-1) + self.factors.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return the log-density of every point, in nats; gradients pass."""
        log_joint = self.logits.log_softmax(dim=0) + gaussian_log_prob(x, self.means, self.scale_tril)
        return log_joint.logsumexp(dim=1)

    def mixture(self) -> GaussianMixture:
        """Return the mixture that the parameters stand for now, in double precision."""
        with torch.no_grad():
            tril = self.scale_tril.double()
            return GaussianMixture(self.logits.double().softmax(dim=0), self.means.double(), tril @ tril.mT)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return minus the mean log-likelihood of a batch."""
        return self._loss(batch, "train_loss")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log minus the mean log-likelihood of a batch."""
        self._loss(batch, "val_loss")

    def on_fit_start(self) -> None:
        """Refuse numbers of 16 bits, for which there is no solver of the triangular systems in the density."""
        if self.means.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"precision gives the mixture {self.means.dtype}; it takes '32-true' or '64-true'.")

    def _loss(self, batch: Any, name: str) -> Tensor:
        x = training.as_floats("points", training.tensors_of(batch, "points", "labels", least=1)[0], self)
        loss = -self.log_prob(x).mean()
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(x), sync_dist=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam, whose learning rate falls to nothing along a cosine."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        total = training.planned_steps(self)
        # Not PyTorch's schedule of this form: it goes from one rate to the next, and could never leave 0 again.
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
