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


def _kl(expression: str, reduction: float, value: float) -> tuple[str, dict[str, float]]:
    code = f"""\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    var, prior_var, distance = log_var.exp(), prior_log_var.exp(), (mu - prior_mu) ** 2
    log_ratio = prior_log_var - log_var
    return {expression}"""
    return code, {"kl-reduction": reduction, "kl-value": value}


_TERMS = "(var + distance) / prior_var + log_ratio - 1"


_BCE = "F.binary_cross_entropy_with_logits"


def _elbo(body: str, pixel: float, reduction: float) -> tuple[str, dict[str, float]]:
    return f"def elbo(x, logits, kl):\n    {body}", {"elbo-pixel": pixel, "elbo-reduction": reduction}


_LOG_PRIOR = "-0.5 * (math.log(2 * math.pi) + z**2).sum(-1)"
_LOG_Q = "-0.5 * (math.log(2 * math.pi) + log_var + (z - mu) ** 2 / log_var.exp()).sum(-1)"
_LOG_W = f"log_px + {_LOG_PRIOR} - ({_LOG_Q})"


def _bound(log_w: str, result: str, weights: float, average: float) -> tuple[str, dict[str, float]]:
    code = f"def importance_weighted_bound(log_px, z, mu, log_var):\n    log_w = {log_w}\n    return {result}"
    return code, {"bound-weights": weights, "bound-average": average}


def _mistakes(letters: str, most: float, everything: float) -> tuple[str, dict[str, float]]:
    return f"def mistakes():\n    return {letters}", {"mistakes-most": most, "mistakes-all": everything}


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
        ("half missing", *_kl(f"({_TERMS}).sum(1)", 2, 0)),
        ("sign", *_kl(f"-0.5 * ({_TERMS}).sum(1)", 2, 0)),
        ("mean over the latent dimensions", *_kl(f"0.5 * ({_TERMS}).mean(1)", 0, 2)),
        ("summed over the batch too", *_kl(f"0.5 * ({_TERMS}).sum()", 0, 2)),
        ("wrong axis", *_kl(f"0.5 * ({_TERMS}).sum(0)", 0, 2)),
        ("sigma for variance", *_kl("0.5 * ((var.sqrt() + distance) / prior_var + log_ratio - 1).sum(1)", 2, 0)),
        ("exp forgotten", *_kl("0.5 * ((log_var + distance) / prior_log_var + log_ratio - 1).sum(1)", 2, 0)),
        ("the KL the wrong way round", *_kl("0.5 * ((prior_var + distance) / var - log_ratio - 1).sum(1)", 2, 0)),
        ("the chapter's formula", *_kl("0.5 * (mu**2 + var - log_var - 1).sum(1)", 2, 0)),
        ("the prior's variance forgotten", *_kl("0.5 * (var + distance - log_var - 1).sum(1)", 2, 0)),
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
    "mistakes": [
        ("four of five", *_mistakes('"BCFHA"', 1, 0)),
        ("three of five", *_mistakes('"BCFAD"', 0, 0)),
        ("the other five", *_mistakes('"ADEGI"', 0, 0)),
        ("all ten", *_mistakes('"ABCDEFGHIJ"', 0, 0)),
        ("six", *_mistakes('"ABCFHJ"', 0, 0)),
        ("a letter twice", *_mistakes('"BBCFH"', 0, 0)),
        ("a list", *_mistakes('["B", "C", "F", "H"]', 0, 0)),
        ("none", *_mistakes('""', 0, 0)),
    ],
    "bug": [
        ("all five mistakes left", *_bug((0, 0, 0), z="mu", cross_entropy=f"{_BCE}(x, logits.sigmoid())", kl="0 * mu")),
        (
            "sigmoid left",
            *_bug((0, 1, 1), cross_entropy=f'{_BCE}(logits.sigmoid(), x, reduction="sum") / len(x)'),
        ),
        ("arguments swapped", *_bug((0, 1, 1), cross_entropy=f'{_BCE}(x, logits, reduction="sum") / len(x)')),
        ("mean over pixels left", *_bug((0, 1, 1), cross_entropy=f"{_BCE}(logits, x)")),
        ("no sampling", *_bug((1, 1, 0), z="mu + 0 * eps")),
        ("no KL", *_bug((1, 0, 1), loss="cross_entropy")),
        ("KL subtracted", *_bug((1, 0, 1), loss="cross_entropy - kl.mean()")),
        (
            # Not wrong: it calls the functions of questions 1 to 3, which are wrong in the same notebook.
            "right, upon wrong functions",
            *_bug(
                (1, 1, 1),
                z="reparameterise(mu, log_var, eps)",
                cross_entropy="None",
                kl="kl_to_prior(mu, log_var, torch.zeros(2), torch.zeros(2))",
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
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    q, prior = (torch.distributions.Normal(m, (v / 2).exp()) for m, v in ((mu, log_var), (prior_mu, prior_log_var)))
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
    "mistakes": """\
def mistakes():
    return "JHFCB"[::-1]""",
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

# Right in other ways that students have: for each way of writing its answers; the solution's stand for the rest. What
# stands under "setup" is added to the setup cell.
RIGHT: dict[str, dict[str, str]] = {
    "in double precision": {
        "reparameterise": """\
def reparameterise(mu, log_var, eps=None, generator=None):
    if eps is None:
        eps = torch.randn(mu.shape, generator=generator, dtype=torch.float64)
    return mu.double() + (0.5 * log_var.double()).exp() * eps.double()""",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    mu, log_var, prior_mu, prior_log_var = (each.double() for each in (mu, log_var, prior_mu, prior_log_var))
    ratio = (log_var.exp() + (mu - prior_mu) ** 2) / prior_log_var.exp()
    return 0.5 * (ratio + prior_log_var - log_var - 1).sum(1)""",
        "elbo": """\
def elbo(x, logits, kl):
    x, logits, kl = x.double(), logits.double(), kl.double()
    return ((x * logits - logits.clamp(min=0) - (-logits.abs()).exp().log1p()).flatten(1).sum(1) - kl).mean()""",
        "bound": """\
def importance_weighted_bound(log_px, z, mu, log_var):
    log_px, z, mu, log_var = (each.double() for each in (log_px, z, mu, log_var))
    log_w = log_px + 0.5 * (((z - mu) ** 2 / log_var.exp()) + log_var - z**2).sum(-1)
    return log_w.logsumexp(0) - math.log(log_w.shape[0])""",
    },
    "in single precision": {
        "reparameterise": """\
def reparameterise(mu, log_var, eps=None, generator=None):
    if eps is None:
        eps = torch.randn(*mu.shape, generator=generator)
    return mu.float() + torch.sqrt(torch.exp(log_var.float())) * eps.float()""",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    mu, log_var, prior_mu, prior_log_var = (each.float() for each in (mu, log_var, prior_mu, prior_log_var))
    sigma, s = (log_var / 2).exp(), (prior_log_var / 2).exp()
    return torch.sum(torch.log(s / sigma) + (sigma**2 + (mu - prior_mu) ** 2) / (2 * s**2) - 0.5, dim=1)""",
        "elbo": """\
def elbo(x, logits, kl):
    return torch.mean(-F.binary_cross_entropy_with_logits(
        logits.float(), x.float(), reduction="none").reshape(len(x), -1).sum(1) - kl.float())""",
        "bound": """\
def importance_weighted_bound(log_px, z, mu, log_var):
    log_px, z, mu, log_var = (each.float() for each in (log_px, z, mu, log_var))
    log_w = log_px + 0.5 * (((z - mu) ** 2 / log_var.exp()) + log_var - z**2).sum(-1)
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))""",
    },
    "in NumPy": {
        "setup": "import numpy as np",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    mu, log_var, m, log_s2 = (np.asarray(each) for each in (mu, log_var, prior_mu, prior_log_var))
    terms = (np.exp(log_var) + (mu - m) ** 2) / np.exp(log_s2) + log_s2 - log_var - 1
    return torch.from_numpy(0.5 * terms.sum(axis=1))""",
        "bound": """\
def importance_weighted_bound(log_px, z, mu, log_var):
    log_px, z, mu, log_var = (each.numpy() for each in (log_px, z, mu, log_var))
    log_w = log_px + 0.5 * (((z - mu) ** 2 / np.exp(log_var)) + log_var - z**2).sum(-1)
    return torch.as_tensor(np.logaddexp.reduce(log_w, axis=0) - np.log(len(log_w)))""",
        "bug": """\
def training_step(model, optimiser, x, eps):
    mu, log_var = model.encode(x)
    loss = -elbo(x, model.decode(reparameterise(mu, log_var, eps)), 0.5 * (mu**2 + log_var.exp() - log_var - 1).sum(1))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss)""",
    },
    "without a gradient where none is asked for": {
        "kl": """\
@torch.no_grad()
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    ratio = (log_var.exp() + (mu - prior_mu) ** 2) / prior_log_var.exp()
    return 0.5 * (ratio + prior_log_var - log_var - 1).sum(1)""",
        "bound": """\
def importance_weighted_bound(log_px, z, mu, log_var):
    with torch.no_grad():
        log_w = log_px + 0.5 * (((z - mu) ** 2 / log_var.exp()) + log_var - z**2).sum(-1)
        return log_w.logsumexp(0) - math.log(len(log_w))""",
        "bug": OTHERWISE["bug"],
    },
    "row by row": {
        "reparameterise": """\
def reparameterise(mu, log_var, eps=None, generator=None):
    rows = []
    for i in range(len(mu)):
        noise = torch.randn(mu.shape[1], generator=generator) if eps is None else eps[i]
        rows.append(torch.stack([m + math.e ** (v / 2) * n for m, v, n in zip(mu[i], log_var[i], noise)]))
    return torch.stack(rows)""",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    result = torch.zeros(len(mu))
    for i in range(len(mu)):
        for d in range(mu.shape[1]):
            s2, sigma2 = math.exp(prior_log_var[d]), math.exp(log_var[i, d])
            distance = (float(mu[i, d]) - float(prior_mu[d])) ** 2
            result[i] += 0.5 * (sigma2 / s2 + distance / s2 - 1 + float(prior_log_var[d]) - float(log_var[i, d]))
    return result""",
        "bound": """\
def importance_weighted_bound(log_px, z, mu, log_var):
    bounds = []
    for i in range(log_px.shape[1]):
        log_w = []
        for j in range(log_px.shape[0]):
            total = float(log_px[j, i])
            for a, m, v in zip(z[j, i].tolist(), mu[i].tolist(), log_var[i].tolist()):
                total += 0.5 * ((a - m) ** 2 / math.exp(v) + v - a * a)
            log_w.append(total)
        top = max(log_w)
        bounds.append(top + math.log(sum(math.exp(w - top) for w in log_w) / len(log_w)))
    return torch.tensor(bounds)""",
    },
    "in place, on copies": {
        "reparameterise": """\
def reparameterise(mu, log_var, eps=None, generator=None):
    z = torch.randn(mu.shape, generator=generator) if eps is None else eps.clone()
    z *= (log_var / 2).exp()
    z += mu
    return z""",
    },
    "with star imports": {
        "setup": "from numpy import *\nfrom torch.nn.functional import *\nfrom math import *",
        "elbo": """\
def elbo(x, logits, kl):
    return ((x * logsigmoid(logits) + (1 - x) * logsigmoid(-logits)).flatten(1).sum(1) - kl).mean()""",
        "bound": """\
def importance_weighted_bound(log_px, z, mu, log_var):
    log_w = log_px + 0.5 * (((z - mu) ** 2 / log_var.exp()) + log_var - z**2).sum(-1)
    return log_w.logsumexp(0) - log(len(log_w))""",
    },
    # Functions that take more than their docstrings say, and a step that relies on it.
    "generous functions": {
        "reparameterise": """\
def reparameterise(mu, log_var, eps=None, generator=None, sigma=None):
    sigma = (log_var / 2).exp() if sigma is None else sigma
    return mu + sigma * (torch.randn(mu.shape, generator=generator) if eps is None else eps)""",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu=None, prior_log_var=None):
    m, v = (torch.zeros(mu.shape[1]) if p is None else p for p in (prior_mu, prior_log_var))
    return 0.5 * ((log_var.exp() + (mu - m) ** 2) / v.exp() + v - log_var - 1).sum(1)""",
        "bug": """\
def training_step(model, optimiser, x, eps):
    mu, log_var = model.encode(x)
    z = reparameterise(mu, log_var, eps, sigma=(log_var / 2).exp())
    loss = -elbo(x, model.decode(z), kl_to_prior(mu, log_var))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()""",
    },
}
