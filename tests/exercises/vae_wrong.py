"""Wrong answers to notebooks/exercises/vae.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well.
"""

Answer = tuple[str, str, dict[str, float]]


def _reparameterise(body: str, value: float, draw: float) -> tuple[str, dict[str, float]]:
    code = f"def reparameterise(mu, log_var, eps=None, generator=None):\n{body}"
    return code, {"reparameterise-value": value, "reparameterise-draw": draw}


_DRAW = """\
    if eps is None:
        eps = torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
"""

_KL = "def kl_to_standard_normal(mu, log_var):\n    return "


def _kl(expression: str, reduction: float, value: float) -> tuple[str, dict[str, float]]:
    return _KL + expression, {"kl-reduction": reduction, "kl-value": value}


_BCE = "F.binary_cross_entropy_with_logits"


def _elbo(body: str, pixel: float, reduction: float) -> tuple[str, dict[str, float]]:
    return f"def elbo(x, logits, kl):\n    {body}", {"elbo-pixel": pixel, "elbo-reduction": reduction}


_LOG_PRIOR = "-0.5 * (math.log(2 * math.pi) + z**2).sum(-1)"
_LOG_Q = "-0.5 * (math.log(2 * math.pi) + log_var + (z - mu) ** 2 / log_var.exp()).sum(-1)"
_LOG_W = f"log_px + {_LOG_PRIOR} - ({_LOG_Q})"


def _bound(log_w: str, result: str, weights: float, average: float) -> tuple[str, dict[str, float]]:
    code = f"def importance_weighted_bound(log_px, z, mu, log_var):\n    log_w = {log_w}\n    return {result}"
    return code, {"bound-weights": weights, "bound-average": average}


_LOG_MEAN_EXP = "torch.logsumexp(log_w, dim=0) - math.log(len(log_w))"


def _bug(
    points: tuple[float, float, float],
    z: str = "mu + (0.5 * log_var).exp() * eps",
    cross_entropy: str = f'{_BCE}(logits, x, reduction="sum") / len(x)',
    kl: str = "0.5 * (mu**2 + log_var.exp() - log_var - 1).sum(1)",
    loss: str = "cross_entropy + kl.mean()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def training_step(model, optimiser, x, eps):
    mu, log_var = model.encode(x)
    z = {z}
    logits = model.decode(z)
    cross_entropy = {cross_entropy}
    kl = {kl}
    loss = {loss}
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()"""
    return code, dict(zip(("bug-reconstruction", "bug-kl", "bug-sampling"), points, strict=True))


WRONG: dict[str, list[Answer]] = {
    "reparameterise": [
        ("variance for sigma", *_reparameterise(_DRAW + "    return mu + log_var.exp() * eps", 0, 2)),
        ("log-variance for sigma", *_reparameterise(_DRAW + "    return mu + log_var * eps", 0, 0)),
        ("sign", *_reparameterise(_DRAW + "    return mu - (0.5 * log_var).exp() * eps", 0, 2)),
        ("detached", *_reparameterise(_DRAW + "    return (mu + (0.5 * log_var).exp() * eps).detach()", 2, 0)),
        (
            "one noise for the whole batch",
            *_reparameterise(
                "    if eps is None:\n        eps = torch.randn(mu.shape[1], generator=generator)\n"
                "    return mu + (0.5 * log_var).exp() * eps",
                2,
                0,
            ),
        ),
        (
            "uniform noise",
            *_reparameterise(
                "    if eps is None:\n        eps = (torch.rand(mu.shape, generator=generator) - 0.5) * 12**0.5\n"
                "    return mu + (0.5 * log_var).exp() * eps",
                2,
                0,
            ),
        ),
        (
            "eps ignored",
            *_reparameterise(
                "    noise = torch.randn(mu.shape, generator=generator)\n    return mu + (0.5 * log_var).exp() * noise",
                0,
                2,
            ),
        ),
        (
            "generator ignored",
            *_reparameterise(
                "    eps = torch.randn_like(mu) if eps is None else eps\n    return mu + (0.5 * log_var).exp() * eps",
                2,
                0,
            ),
        ),
    ],
    "kl": [
        ("half missing", *_kl("(mu**2 + log_var.exp() - log_var - 1).sum(1)", 2, 0)),
        ("sign", *_kl("-0.5 * (mu**2 + log_var.exp() - log_var - 1).sum(1)", 2, 0)),
        ("mean over the latent dimensions", *_kl("0.5 * (mu**2 + log_var.exp() - log_var - 1).mean(1)", 0, 2)),
        ("summed over the batch too", *_kl("0.5 * (mu**2 + log_var.exp() - log_var - 1).sum()", 0, 2)),
        ("wrong axis", *_kl("0.5 * (mu**2 + log_var.exp() - log_var - 1).sum(0)", 0, 2)),
        ("sigma for variance", *_kl("0.5 * (mu**2 + (0.5 * log_var).exp() - log_var - 1).sum(1)", 2, 0)),
        ("exp forgotten", *_kl("0.5 * (mu**2 + log_var - log_var.log() - 1).sum(1)", 0, 0)),
        ("the KL the wrong way round", *_kl("0.5 * ((1 + mu**2) / log_var.exp() + log_var - 1).sum(1)", 2, 0)),
    ],
    "elbo": [
        ("KL added", *_elbo(f'return (-{_BCE}(logits, x, reduction="none").flatten(1).sum(1) + kl).mean()', 2, 0)),
        ("the loss", *_elbo(f'return ({_BCE}(logits, x, reduction="none").flatten(1).sum(1) + kl).mean()', 0, 0)),
        ("mean over pixels", *_elbo(f"return -{_BCE}(logits, x) - kl.mean()", 2, 0)),
        ("sum over the batch", *_elbo(f'return -{_BCE}(logits, x, reduction="sum") - kl.sum()', 2, 0)),
        ("swapped", *_elbo(f'return (-{_BCE}(x, logits, reduction="none").flatten(1).sum(1) - kl).mean()', 0, 2)),
        (
            "sigmoid twice",
            *_elbo(f'return (-{_BCE}(logits.sigmoid(), x, reduction="none").flatten(1).sum(1) - kl).mean()', 0, 2),
        ),
        (
            "logarithm of the sigmoid",
            *_elbo(
                "p = logits.sigmoid()\n"
                "    return ((x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1) - kl).mean()",
                0,
                2,
            ),
        ),
        ("squared error", *_elbo("return (-((x - logits.sigmoid()) ** 2).flatten(1).sum(1) - kl).mean()", 0, 2)),
    ],
    "bound": [
        ("mean of the logarithms", *_bound(_LOG_W, "log_w.mean(0)", 3, 0)),
        ("log k forgotten", *_bound(_LOG_W, "torch.logsumexp(log_w, dim=0)", 3, 0)),
        ("not stable", *_bound(_LOG_W, "log_w.exp().mean(0).log()", 3, 0)),
        ("wrong axis", *_bound(_LOG_W, "torch.logsumexp(log_w, dim=1) - math.log(log_w.shape[1])", 3, 0)),
        ("the likelihood alone", *_bound("log_px", _LOG_MEAN_EXP, 0, 3)),
        ("weights upside down", *_bound(f"log_px - ({_LOG_PRIOR}) + {_LOG_Q}", _LOG_MEAN_EXP, 0, 3)),
        ("sigma for variance", *_bound(_LOG_W.replace("log_var.exp()", "(0.5 * log_var).exp()"), _LOG_MEAN_EXP, 0, 3)),
        ("q forgotten", *_bound(f"log_px + {_LOG_PRIOR}", _LOG_MEAN_EXP, 0, 0)),
    ],
    "bug": [
        ("all five mistakes left", *_bug((0, 0, 0), z="mu", cross_entropy=f"{_BCE}(x, logits.sigmoid())", kl="0 * mu")),
        (
            "sigmoid left",
            *_bug((0, 2, 2), cross_entropy=f'{_BCE}(logits.sigmoid(), x, reduction="sum") / len(x)'),
        ),
        ("arguments swapped", *_bug((0, 2, 2), cross_entropy=f'{_BCE}(x, logits, reduction="sum") / len(x)')),
        ("mean over pixels left", *_bug((0, 2, 2), cross_entropy=f"{_BCE}(logits, x)")),
        ("no sampling", *_bug((2, 2, 0), z="mu + 0 * eps")),
        ("no KL", *_bug((2, 0, 2), loss="cross_entropy")),
        ("KL subtracted", *_bug((2, 0, 2), loss="cross_entropy - kl.mean()")),
        (
            # Not wrong: it calls the functions of questions 1 to 3, which are wrong in the same notebook.
            "right, upon wrong functions",
            *_bug(
                (2, 2, 2),
                z="reparameterise(mu, log_var, eps)",
                cross_entropy="None",
                kl="kl_to_standard_normal(mu, log_var)",
                loss="-elbo(x, logits, kl)",
            ),
        ),
    ],
}

# Right, but written otherwise than the solution: no check may insist on one way to write an answer.
OTHERWISE: dict[str, str] = {
    "reparameterise": """\
def reparameterise(mu, log_var, eps=None, generator=None):
    noise = torch.randn(*mu.shape, generator=generator) if eps is None else eps
    return log_var.exp().sqrt() * noise + mu""",
    "kl": """\
def kl_to_standard_normal(mu, log_var):
    q, prior = torch.distributions.Normal(mu, (log_var / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    return torch.distributions.kl_divergence(q, prior).sum(-1)""",
    "elbo": """\
def elbo(x, logits, kl):
    warnings.warn("this is not a mistake")
    total = 0.0
    for picture, logit, price in zip(x, logits, kl):
        total = total + (picture * F.logsigmoid(logit) + (1 - picture) * F.logsigmoid(-logit)).sum() - price
    return total / len(x)""",
    "bound": """\
def importance_weighted_bound(log_px, z, mu, log_var):
    q, prior = torch.distributions.Normal(mu, (log_var / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    log_w = log_px + (prior.log_prob(z) - q.log_prob(z)).sum(-1)
    largest = log_w.max(dim=0).values.detach()
    return largest + (log_w - largest).exp().mean(dim=0).log()""",
    "bug": """\
def training_step(model, optimiser, x, eps):
    optimiser.zero_grad()
    mu, log_var = model.encode(x)
    p = torch.distributions.Bernoulli(logits=model.decode(mu + log_var.exp() ** 0.5 * eps), validate_args=False)
    loss = -p.log_prob(x).sum(1) + (mu**2 / 2 + log_var.exp() / 2 - log_var / 2 - 0.5).sum(1)
    loss.mean().backward()
    optimiser.step()
    return loss.mean().item()""",
}
