"""Wrong answers to notebooks/exercises/diffusion.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well. SAYS has the words with which a check names a mistake.
"""

Answer = tuple[str, str, dict[str, float]]


def _shares(
    points: tuple[float, float],
    kept: str = "torch.cat([torch.ones(1), (1 - rates).cumprod(dim=0)])",
    a: str = "kept.sqrt()",
    s: str = "(1 - kept).sqrt()",
    before: str = "pass",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def shares_after(rates):
    {before}
    kept = {kept}
    a = {a}
    s = {s}
    return a, s"""
    return code, dict(zip(("shares-signal", "shares-noise"), points, strict=True))


def _noisy(
    a: str = "kept.sqrt()",
    s: str = "(1 - kept).sqrt()",
    index: str = "k",
    beside: str = "[(...,) + (None,) * (x.dim() - 1)]",
    result: str = "a * x + s * noise",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def noisy_at(x, k, rates, noise):
    kept = torch.cat([torch.ones(1), (1 - rates).cumprod(dim=0)])[{index}]
    kept = kept{beside}
    a, s = {a}, {s}
    return {result}"""
    return code, {"noisy-steps": 0}


_NOISY_UPON_WRONG = """\
def noisy_at(x, k, rates, noise):
    a, s = shares_after(rates)
    return torch.stack([a[n] * x[i] + s[n] * noise[i] for i, n in enumerate(k)])"""


def _rates(result: str, before: str = "torch.cat([torch.ones(1), signal[:-1]])") -> tuple[str, dict[str, float]]:
    code = f"""\
def rates_for(signal):
    before = {before}
    return {result}"""
    return code, {"rates-value": 0}


def _target(velocity: str, noise: str = "noise", clean: str = "x") -> tuple[str, dict[str, float]]:
    code = f"""\
def loss_target(prediction, x, noise, t):
    t = t.view(-1, *[1] * (x.dim() - 1))
    if prediction == "noise":
        return {noise}
    if prediction == "clean":
        return {clean}
    return {velocity}"""
    return code, {"target-each": 0}


def _split(
    points: tuple[float, float],
    a: str = "1 - s * s",
    noise: str = "(x_t - s * said) / a, said",
    clean: str = "said, (x_t - a * said) / s",
    velocity: str = "(x_t - s * said) / (1 + s * s), (a * said + 2 * s * x_t) / (1 + s * s)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def both_guesses(prediction, said, x_t, t):
    s = t.view(-1, *[1] * (x_t.dim() - 1))
    a = {a}
    if prediction == "noise":
        return {noise}
    if prediction == "clean":
        return {clean}
    return {velocity}"""
    return code, dict(zip(("split-plain", "split-velocity"), points, strict=True))


def _step(
    points: tuple[float, float, float, float],
    rho: str = "a_t * s_r / (a_r * s_t)",
    fresh: str = "eta * s_r * max(0.0, 1 - rho**2) ** 0.5",
    kept: str = "max(0.0, s_r**2 - fresh**2) ** 0.5",
    result: str = "a_r * clean + kept * noise + fresh * z",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def ddim_step(clean, noise, now, then, eta, z):
    (a_t, s_t), (a_r, s_r) = now, then
    rho = {rho}
    fresh = {fresh}
    kept = {kept}
    return {result}"""
    return code, dict(zip(("step-ddim", "step-fresh", "step-kept", "step-ends"), points, strict=True))


def _guided(
    points: tuple[float, float],
    result: str,
    w: str = "w.view(-1, *[1] * (x.dim() - 1))",
    untold: str = "torch.full_like(labels, -1)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def guided(network, x, t, labels, w):
    told = network(x, t, labels)
    plain = network(x, t, {untold})
    w = {w}
    return {result}"""
    return code, dict(zip(("guided-ends", "guided-line"), points, strict=True))


def _normal(result: str, precision: str = "w / std**2 + (1 - w) / std_all**2") -> tuple[str, dict[str, float]]:
    code = f"""\
def guided_normal(mean, std, std_all, w):
    precision = {precision}
    return {result}"""
    return code, {"normal-value": 0}


def _flow(
    points: tuple[float, float],
    point: str = "t * x + (1 - (1 - sigma) * t) * noise",
    target: str = "x - (1 - sigma) * noise",
    beside: str = "t.view(-1, *[1] * (x.dim() - 1))",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def flow_pair(x, noise, t, sigma):
    t = {beside}
    return {point}, {target}"""
    return code, dict(zip(("flow-point", "flow-target"), points, strict=True))


def _euler(
    points: tuple[float, float],
    moment: str = "k / steps",
    step: str = "x = x + field(x, t) / steps",
    begin: str = "noise",
    count: str = "range(steps)",
    times: str = "torch.full((len(x),), moment)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def follow(field, noise, steps):
    x = {begin}
    for k in {count}:
        moment = {moment}
        t = {times}
        {step}
    return x"""
    return code, dict(zip(("euler-one", "euler-times"), points, strict=True))


def _field(
    result: str = "mean + slope * (x_t - t * mean)",
    covariance: str = "t * std**2 - (1 - t)",
    variance: str = "t**2 * std**2 + (1 - t) ** 2",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def best_field(x_t, t, mean, std):
    slope = ({covariance}) / ({variance})
    return {result}"""
    return code, {"field-value": 0}


def _mistakes(letters: str, most: float, everything: float) -> tuple[str, dict[str, float]]:
    return f"def mistakes():\n    return {letters}", {"mistakes-most": most, "mistakes-all": everything}


def _bug(
    points: tuple[float, float],
    s: str = "(1 - kept).sqrt()",
    time: str = "k / len(rates)",
    target: str = "noise",
    clear: str = "optimiser.zero_grad()",
    step: str = "optimiser.step()",
    slow: str = "decay * slow + (1 - decay) * new",
    loss: str = "F.mse_loss(said, target)",
    result: str = "loss.detach()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def training_step(network, average, optimiser, x, k, noise, rates, decay):
    kept = (1 - rates).cumprod(dim=0)[k - 1].view(-1, *[1] * (x.dim() - 1))
    x_k = kept.sqrt() * x + {s} * noise
    said = network(x_k, {time})
    target = {target}
    loss = {loss}
    {clear}
    loss.backward()
    {step}
    with torch.no_grad():
        for slow, new in zip(average.parameters(), network.parameters()):
            slow.copy_({slow})
    return {result}"""
    return code, dict(zip(("bug-point", "bug-weights"), points, strict=True))


_BUG_UPON_WRONG = """\
def training_step(network, average, optimiser, x, k, noise, rates, decay):
    said = network(noisy_at(x, k, rates, noise), k.float() / len(rates))
    loss = (said - noise).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    for slow, new in zip(average.parameters(), network.parameters()):
        slow.data = decay * slow.data + (1 - decay) * new.data
    return loss.detach()"""


def _reverse(
    noise: str = "beta.sqrt() * z * (k > 1)",
    mean: str = "(x - beta / (1 - kept).sqrt() * said) / (1 - beta).sqrt()",
    beta: str = "rates[k - 1]",
    kept: str = "(1 - rates[:k]).prod()",
    time: str = "torch.full((len(x),), k / len(rates))",
    result: str = "(mean + fresh).detach()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def reverse_step(average, x, k, rates, z):
    beta = {beta}
    kept = {kept}
    said = average(x, {time})
    mean = {mean}
    fresh = {noise}
    return {result}"""
    return code, {"reverse-step": 0}


WRONG: dict[str, list[Answer]] = {
    "shares": [
        ("the noise without the root", *_shares((1, 0), s="1 - kept")),
        ("alpha-bar for the signal", *_shares((0, 1), a="kept")),
        ("neither has its root", *_shares((0, 0), a="kept", s="1 - kept")),
        ("the last step alone", *_shares((0, 0), kept="torch.cat([torch.ones(1), 1 - rates])")),
        ("the product of the rates", *_shares((1, 0), s="torch.cat([torch.zeros(1), rates.cumprod(dim=0).sqrt()])")),
        ("the rates added", *_shares((0, 0), kept="torch.cat([torch.ones(1), 1 - rates.cumsum(dim=0)]).clamp(min=0)")),
        ("shares that add up to 1", *_shares((1, 0), s="1 - kept.sqrt()")),
        ("without the example itself", *_shares((0, 0), kept="(1 - rates).cumprod(dim=0)")),
        ("exchanged", *_shares((0, 0), a="(1 - kept).sqrt()", s="kept.sqrt()")),
        ("the given rates overwritten", *_shares((0, 1), before="rates.mul_(1.0).add_(1e-6)")),
        ("only the last number of steps", *_shares((0, 0), a="kept.sqrt()[-1]", s="(1 - kept).sqrt()[-1]")),
    ],
    "noisy": [
        ("the noise without the root", *_noisy(s="(1 - kept)")),
        ("no root at all", *_noisy(a="kept", s="(1 - kept)")),
        ("one step too few", *_noisy(index="(k - 1).clamp(min=0)")),
        ("all as the first", *_noisy(index="k[:1]")),
        ("shares along the last dimension", *_noisy(beside="")),
        ("the noise subtracted", *_noisy(result="a * x - s * noise")),
        ("exchanged", *_noisy(result="s * x + a * noise")),
        ("the noise not scaled", *_noisy(result="a * x + noise")),
        ("the signal not scaled", *_noisy(result="x + s * noise")),
        ("the given example overwritten", *_noisy(result="x.mul_(a).add_(s * noise)")),
        # Not wrong: it calls a function of an earlier question, which may be wrong in the same notebook.
        ("right, upon wrong functions", _NOISY_UPON_WRONG, {"noisy-steps": 1}),
    ],
    "rates": [
        ("the root forgotten", *_rates("1 - signal / before")),
        ("always from the example", *_rates("1 - signal**2")),
        ("what is kept", *_rates("(signal / before) ** 2")),
        ("upside down", *_rates("1 - (before / signal) ** 2")),
        ("differences", *_rates("before - signal")),
        ("differences of the squares", *_rates("before**2 - signal**2")),
        ("without the first step", *_rates("1 - (signal[1:] / signal[:-1]) ** 2")),
        ("the last step first", *_rates("(1 - (signal / before) ** 2).flip(0)")),
        (
            "before the first step nothing",
            *_rates("1 - (signal / before) ** 2", "torch.cat([signal[:1], signal[:-1]])"),
        ),
    ],
    "target": [
        ("the straight path's", *_target("noise - x")),
        ("the circle's", *_target("(1 - t**2) * noise - t * x")),
        ("the cosine path's", *_target("math.pi / 2 * ((1 - t**2) * noise - t * x)")),
        ("sign of the slope", *_target("noise + 2 * t * x")),
        ("half the slope", *_target("noise - t * x")),
        ("the point itself", *_target("(1 - t**2) * x + t * noise")),
        ("towards the data", *_target("2 * t * x - noise")),
        ("noise and example exchanged", *_target("noise - 2 * t * x", "x", "noise")),
        ("the noise of the point", *_target("noise - 2 * t * x", "t * noise")),
        ("the noisy example for the clean one", *_target("noise - 2 * t * x", clean="(1 - t**2) * x + t * noise")),
        ("the first time for all", *_target("noise - 2 * t[:1] * x")),
    ],
    "split": [
        ("without the divisor", *_split((1, 0), velocity="x_t - s * said, a * said + 2 * s * x_t")),
        ("the circle's", *_split((1, 0), velocity="a * x_t - s * said, s * x_t + a * said")),
        ("signal not divided out", *_split((0, 2), noise="x_t - s * said, said")),
        ("noise not divided out", *_split((0, 2), clean="said, x_t - a * said")),
        ("the share of the circle", *_split((0, 0), a="(1 - s * s).sqrt()")),
        ("the straight path", *_split((0, 0), a="1 - s", velocity="x_t - s * said, x_t + (1 - s) * said")),
        (
            "exchanged",
            *_split(
                (0, 0),
                noise="said, (x_t - s * said) / a",
                clean="(x_t - a * said) / s, said",
                velocity="(a * said + 2 * s * x_t) / (1 + s * s), (x_t - s * said) / (1 + s * s)",
            ),
        ),
        ("sign of the velocity", *_split((1, 0), velocity="(x_t + s * said) / (1 + s * s), said")),
        (
            "divided by what becomes 0",
            *_split((1, 0), velocity="(x_t - s * said) / (1 + s * s), (x_t - a * (x_t - s * said) / (1 + s * s)) / s"),
        ),
        ("the divisor 1 - t^2", *_split((1, 0), velocity="(x_t - s * said) / a, (a * said + 2 * s * x_t) / a")),
    ],
    "step": [
        (
            "shares of the first time",
            *_step(
                (0, 1, 0, 0), kept="max(0.0, s_t**2 - fresh**2) ** 0.5", result="a_t * clean + kept * noise + fresh * z"
            ),
        ),
        ("the variance for its root", *_step((1, 0, 1, 1), fresh="(eta * s_r) ** 2 * (1 - rho**2)")),
        ("all noise replaced", *_step((1, 0, 1, 1), fresh="eta * s_r")),
        ("eta squared", *_step((1, 0, 1, 1), fresh="eta**2 * s_r * max(0.0, 1 - rho**2) ** 0.5")),
        ("the root of eta", *_step((1, 0, 1, 1), fresh="eta**0.5 * s_r * max(0.0, 1 - rho**2) ** 0.5")),
        ("rho without the signal", *_step((1, 0, 1, 1), rho="s_r / s_t")),
        ("1 - rho", *_step((1, 0, 1, 1), fresh="eta * s_r * max(0.0, 1 - rho) ** 0.5")),
        ("the paper's", *_step((1, 0, 1, 1), fresh="eta * s_r / s_t * max(0.0, 1 - (a_t / a_r) ** 2) ** 0.5")),
        (
            "the noise of the way forward",
            *_step((1, 0, 0, 0), fresh="eta * max(0.0, s_t**2 - (a_t / a_r) ** 2 * s_r**2) ** 0.5"),
        ),
        ("all of the guessed noise kept", *_step((1, 1, 0, 1), kept="s_r")),
        ("standard deviations added", *_step((1, 1, 0, 1), kept="s_r - fresh")),
        ("the kept part for eta = 1", *_step((0, 1, 0, 1), kept="rho * s_r")),
        ("the noise of the first time", *_step((0, 1, 0, 0), kept="max(0.0, s_t**2 - fresh**2) ** 0.5")),
        ("guessed and fresh noise exchanged", *_step((0, 0, 1, 1), result="a_r * clean + kept * z + fresh * noise")),
        ("the example not scaled", *_step((0, 1, 1, 0), result="clean + kept * noise + fresh * z")),
        ("never fresh noise", *_step((1, 0, 1, 1), fresh="0.0")),
        ("always fresh noise", *_step((0, 0, 1, 1), fresh="s_r * max(0.0, 1 - rho**2) ** 0.5")),
    ],
    "guided": [
        ("counted from the answer with the class", *_guided((0, 1), "told + w * (told - plain)")),
        ("exchanged", *_guided((0, 1), "told + w * (plain - told)")),
        ("the answer without the class missing", *_guided((0, 1), "w * (told - plain)")),
        ("no further than 1", *_guided((1, 0), "plain + w.clamp(0, 1) * (told - plain)")),
        ("one w for all", *_guided((1, 0), "plain + w * (told - plain)", w="w.mean()")),
        ("w squared", *_guided((1, 0), "plain + w**2 * (told - plain)")),
        ("w ignored", *_guided((0, 0), "told")),
        ("another label for no class", *_guided((0, 1), "plain + w * (told - plain)", untold="labels - 99")),
        ("the class 0 for no class", *_guided((0, 0), "plain + w * (told - plain)", untold="0 * labels")),
        ("the labels overwritten", *_guided((0, 0), "plain + w * (told - plain)", untold="labels.fill_(-1)")),
        ("a sum, not a difference", *_guided((0, 1), "plain + w * (told + plain)")),
        ("w along the last dimension", *_guided((0, 0), "plain + w * (told - plain)", w="w")),
    ],
    "normal": [
        ("means and spreads on a line", *_normal("w * mean, (1 - w) * std_all + w * std")),
        ("the variance", *_normal("w * mean / std**2 / precision, 1 / precision")),
        ("the variances weighted", *_normal("w * mean, max(0.0, (1 - w) * std_all**2 + w * std**2) ** 0.5")),
        ("the mean of the class", *_normal("mean, precision**-0.5")),
        ("the precision", *_normal("w * mean / std**2 / precision, precision")),
        (
            "counted from the class",
            *_normal("(1 + w) * mean / std**2 / precision, precision**-0.5", "(1 + w) / std**2 - w / std_all**2"),
        ),
        ("the mean not divided", *_normal("w * mean / std**2, precision**-0.5")),
        (
            "standard deviations for variances",
            *_normal("w * mean / std / precision, precision**-0.5", "w / std + (1 - w) / std_all"),
        ),
        ("all examples forgotten", *_normal("mean, std / max(w, 1e-6) ** 0.5")),
    ],
    "flow": [
        ("time upside down", *_flow((0, 1), point="(1 - t) * x + (sigma + (1 - sigma) * t) * noise")),
        ("sigma forgotten in both", *_flow((0, 0), point="t * x + (1 - t) * noise", target="x - noise")),
        ("sigma forgotten in the target", *_flow((1, 0), target="x - noise")),
        ("away from the data", *_flow((1, 0), target="(1 - sigma) * noise - x")),
        ("the clean example", *_flow((1, 0), target="x")),
        ("the point for its velocity", *_flow((1, 0), target="t * x + (1 - (1 - sigma) * t) * noise")),
        ("sigma added at all times", *_flow((0, 1), point="t * x + (1 - t + sigma) * noise")),
        ("the first time for all", *_flow((0, 1), beside="t[:1].view(-1, *[1] * (x.dim() - 1))")),
        ("time along the last dimension", *_flow((0, 1), beside="t")),
        ("the noise left twice", *_flow((1, 0), target="x - (1 + sigma) * noise")),
    ],
    "euler": [
        ("backwards in time", *_euler((1, 0), moment="1 - k / steps")),
        ("where the step ends", *_euler((1, 0), moment="(k + 1) / steps")),
        ("away from the data", *_euler((0, 1), step="x = x - field(x, t) / steps")),
        ("steps of length 1", *_euler((0, 1), step="x = x + field(x, t)")),
        ("one step too few", *_euler((0, 0), count="range(steps - 1)")),
        ("one step too many", *_euler((0, 0), count="range(steps + 1)")),
        ("whole numbers for times", *_euler((1, 0), moment="float(k)")),
        ("up to the end", *_euler((1, 0), moment="k / max(1, steps - 1)")),
        ("always at the noise", *_euler((1, 0), step="x = x + field(noise, t) / steps")),
        ("one time for all", *_euler((1, 0), times="torch.tensor(moment)")),
        ("the noise overwritten", *_euler((0, 0), step="x += field(x, t) / steps")),
        ("asked twice", *_euler((0, 0), step="x = x + (field(x, t) + field(x, t)) / 2 / steps")),
    ],
    "field": [
        ("the mean of the point forgotten", *_field("mean + slope * x_t")),
        ("the mean of the target forgotten", *_field("slope * (x_t - t * mean)")),
        ("sign of the covariance", *_field("mean - slope * (x_t - t * mean)")),
        ("standard deviations for variances", *_field(covariance="t * std - (1 - t)", variance="t * std + (1 - t)")),
        ("the data's mean for the point's", *_field("mean + slope * (x_t - mean)")),
        ("variances not squared", *_field(variance="t * std**2 + (1 - t)")),
        ("time upside down", *_field(covariance="(1 - t) * std**2 - t", variance="(1 - t) ** 2 * std**2 + t**2")),
        ("the noise independent of the point", *_field(covariance="t * std**2")),
        ("signs of both", *_field(covariance="t * std**2 + (1 - t)")),
        (
            "towards the guessed example, at once",
            *_field("mean + t * std**2 / (t**2 * std**2 + (1 - t) ** 2) * (x_t - t * mean)"),
        ),
    ],
    "mistakes": [
        ("four of five", *_mistakes('"BCFGA"', 1, 0)),
        ("three of five", *_mistakes('"BCFAD"', 0, 0)),
        ("the other five", *_mistakes('"ADEHI"', 0, 0)),
        ("all ten", *_mistakes('"ABCDEFGHIJ"', 0, 0)),
        ("a list", *_mistakes('["B", "C", "F", "G", "J"]', 0, 2)),
        ("a letter twice", *_mistakes('"BBCFG"', 0, 0)),
        ("letters that do not exist", *_mistakes('"BCFGK"', 0, 0)),
    ],
    "bug": [
        (
            "all mistakes left",
            *_bug(
                (0, 0),
                s="(1 - kept)",
                time="torch.zeros(len(x))",
                target="x_k - x",
                slow="(1 - decay) * slow + decay * new",
            ),
        ),
        ("the noise without the root", *_bug((0, 1), s="(1 - kept)")),
        ("the time not told", *_bug((1, 0), time="torch.zeros(len(x))")),
        ("the target from the noisy example", *_bug((0, 1), target="x_k - x")),
        ("the average hardly averages", *_bug((1, 0), slow="(1 - decay) * slow + decay * new")),
        ("the number of steps for the time", *_bug((1, 0), time="k.float()")),
        ("the first step ends at 0", *_bug((1, 0), time="(k - 1) / len(rates)")),
        ("the clean example for a target", *_bug((0, 1), target="x")),
        ("gradients never cleared", *_bug((1, 0), clear="pass")),
        ("no step", *_bug((1, 0), step="pass")),
        ("the average does not follow", *_bug((1, 0), slow="slow")),
        ("the average is the network", *_bug((1, 0), slow="new")),
        ("the sum of the errors", *_bug((0, 1), loss="F.mse_loss(said, target, reduction='sum')")),
        # Not wrong: it calls functions of earlier questions, which are wrong in the same notebook or may be.
        ("right, upon wrong functions", _BUG_UPON_WRONG, {"bug-point": 1, "bug-weights": 1}),
    ],
    "reverse": [
        ("fresh noise in the last step", *_reverse(noise="beta.sqrt() * z")),
        ("never fresh noise", *_reverse(noise="0.0")),
        ("the variance of the fresh noise", *_reverse(noise="beta * z * (k > 1)")),
        ("a step too far", *_reverse(kept="(1 - rates[: k - 1]).prod()")),
        ("multiplied", *_reverse(mean="(x - beta / (1 - kept).sqrt() * said) * (1 - beta).sqrt()")),
        ("the guess not scaled", *_reverse(mean="(x - said) / (1 - beta).sqrt()")),
        ("beta-bar", *_reverse(kept="1 - rates[:k].prod()")),
        ("the time of the end of the step", *_reverse(time="torch.full((len(x),), (k - 1) / len(rates))")),
        ("with a gradient", *_reverse(result="mean + fresh")),
        ("the guess added", *_reverse(mean="(x + beta / (1 - kept).sqrt() * said) / (1 - beta).sqrt()")),
    ],
}

# What a failed check says: by question and what is wrong.
_ROOT = "you scaled the noise by 1 - alpha-bar instead of its square root"
SAYS: dict[str, dict[str, str]] = {
    "shares": {
        "the noise without the root": _ROOT,
        "alpha-bar for the signal": "this is alpha-bar; the share is its square root",
        "the last step alone": "this is what one step alone keeps",
        "the product of the rates": "you scaled the noise by the product of the rates, beta-bar",
        "the rates added": "the rates were added",
        "shares that add up to 1": "variances add up to 1, not the shares themselves",
        "without the example itself": "shape (3,), not (2,)",
    },
    "noisy": {
        "the noise without the root": "the root of 0.36",
        "no root at all": "after one step",
        "one step too few": "after one step",
        "all as the first": "after one step",
        "exchanged": "after no step, the example itself",
        "the given example overwritten": "the given tensors were changed",
    },
    "rates": {
        "the root forgotten": "the root is missing: a step keeps sqrt(1 - beta) of the signal",
        "always from the example": "each step begins where the one before has ended",
        "without the first step": "shape (2,), not (1,)",
        "what is kept": "is right, not",
        "upside down": "is right, not",
    },
    "target": {
        "the straight path's": "this is the velocity on the straight path",
        "the circle's": "this is the formula for a ** 2 + s ** 2 = 1",
        "the cosine path's": "this is the formula of the cosine path",
        "sign of the slope": "the signal falls, so its slope is negative",
        "half the slope": "a share of 1 - t ** 2 has the slope -2 t",
        "the point itself": "this is the point x_t itself",
        "noise and example exchanged": "the noise: ",
    },
    "split": {
        "without the divisor": "on this path there is 1 + t ** 2 to divide by",
        "the circle's": "these are the formulas for a ** 2 + s ** 2 = 1",
        "signal not divided out": "the signal's share is still in it: divide by it",
        "noise not divided out": "the noise's share is still in it: divide by it",
        "the share of the circle": "this is the share of another path; here a = 1 - t ** 2",
        "exchanged": "the example, from the noise",
    },
    "step": {
        "shares of the first time": "these are the shares of the time where the step begins",
        "the variance for its root": "you scaled the fresh noise by its variance instead of its square root",
        "all noise replaced": "a part rho of the noise that is there is kept",
        "eta squared": "eta is a factor of sigma, and comes in once",
        "the root of eta": "half of it for eta = 1/2",
        "rho without the signal": "rho has the shares of signal in it as well",
        "1 - rho": "but 1 - rho ** 2",
        "the paper's": "the formula in the paper needs a ** 2 + s ** 2 = 1; here it is not so",
        "the noise of the way forward": "this is the noise that the way forward adds between the times",
        "all of the guessed noise kept": "the guessed noise keeps its whole share",
        "standard deviations added": "variances add up",
        "guessed and fresh noise exchanged": "with eta = 0 the noise is the guessed one, not a fresh one",
    },
    "guided": {
        "counted from the answer with the class": "here w = 0 is the answer without the class, not with it",
        "exchanged": "here w = 0 is the answer without the class, not with it",
        "the answer without the class missing": "the answer without the class is missing",
        "no further than 1": "w may be larger than 1 or negative; the line goes on",
        "one w for all": "each example has a w of its own",
        "w ignored": "w changes nothing",
        "the labels overwritten": "the given labels were changed",
    },
    "normal": {
        "means and spreads on a line": "the logarithms lie on a line, not the means and spreads",
        "the variance": "this is the variance",
        "the variances weighted": "the precisions are weighted, not the variances",
        "the mean of the class": "is right, not",
        "the precision": "is right, not",
    },
    "flow": {
        "time upside down": "time runs from the noise to the data here",
        "sigma forgotten in both": "sigma is missing",
        "sigma forgotten in the target": "sigma is missing in it",
        "away from the data": "the target leads away from the data",
        "the clean example": "this is the clean example",
        "the point for its velocity": "this is the point, not its velocity",
    },
    "euler": {
        "backwards in time": "time runs from 0, the noise, to 1, the data",
        "where the step ends": "a step takes the velocity where it begins, not where it ends",
        "away from the data": "the steps lead away from the data",
        "steps of length 1": "a step is 1 / steps long; here it is 1",
        "one step too few": "there is a step too few",
        "one step too many": "there is a step too many",
        "always at the noise": "the second step begins where the first one ends",
        "the noise overwritten": "the given noise was changed",
    },
    "field": {
        "the mean of the point forgotten": "the mean of x_t is t * mean, and has to be subtracted",
        "the mean of the target forgotten": "the mean of the target is the mean of the data",
        "sign of the covariance": "the sign of the covariance",
        "standard deviations for variances": "standard deviations for variances",
        "signs of both": "is right, not",
    },
    "mistakes": {
        "four of five": "not all five letters are right",
        "three of five": "fewer than four letters are right",
        "all ten": "five different letters, not",
        "a letter twice": "five different letters, not",
        "letters that do not exist": "letters from A to J, not",
    },
    "bug": {
        "all mistakes left": _ROOT,
        "the noise without the root": _ROOT,
        "the time not told": "the network is not told the time",
        "the target from the noisy example": "the target is taken from the noisy example, not the noise",
        "the average hardly averages": "the two shares are exchanged, so that it hardly averages",
        "gradients never cleared": "the gradients of earlier steps are not cleared",
        "the number of steps for the time": "the time is a share of all steps, not their number",
        "the clean example for a target": "the target is the clean example",
    },
    "reverse": {
        "fresh noise in the last step": "fresh noise is added in the last step too",
        "never fresh noise": "fresh noise is missing",
        "the variance of the fresh noise": "the fresh noise is scaled by its variance",
        "the time of the end of the step": "the time that the network is told",
        "with a gradient": "drawing needs no gradient",
    },
}

# Right, but written otherwise than the solution: no check may insist on one way to write an answer.
OTHERWISE: dict[str, str] = {
    "shares": """\
def shares_after(rates):
    warnings.warn("this is not a mistake")
    a, variance = [torch.tensor(1.0)], [torch.tensor(0.0)]
    for rate in rates:
        a.append((1 - rate).sqrt() * a[-1])
        variance.append((1 - rate) * variance[-1] + rate)
    return torch.stack(a), torch.stack(variance).sqrt()""",
    "noisy": """\
def noisy_at(x, k, rates, noise):
    result = torch.empty_like(x)
    for row, steps in enumerate(k.tolist()):
        kept = (1 - rates[:steps]).prod()
        result[row] = kept.sqrt() * x[row] + (1 - kept).sqrt() * noise[row]
    return result""",
    "rates": """\
def rates_for(signal):
    kept = torch.cat([signal.new_ones(1), signal]).square()
    return -kept.diff() / kept[:-1]""",
    "target": """\
@torch.no_grad()
def loss_target(prediction, x, noise, t):
    beside = t[(slice(None),) + (None,) * (x.ndim - 1)]
    if prediction == "velocity":
        return -2 * beside * x + torch.ones_like(x) * noise
    return x.clone() if prediction == "clean" else noise.clone()""",
    "split": """\
def both_guesses(prediction, said, x_t, t):
    s = t.reshape(t.shape + (1,) * (x_t.dim() - 1))
    a, slope = 1 - s.square(), -2 * s
    match prediction:
        case "noise":
            clean, noise = x_t / a - s / a * said, said
        case "clean":
            clean, noise = said, x_t / s - a / s * said
        case "velocity":
            below = a - s * slope
            clean, noise = (x_t - s * said) / below, (a * said - slope * x_t) / below
    return [clean, noise]""",
    "step": """\
def ddim_step(clean, noise, now, then, eta, z):
    variance = eta**2 * then[1] ** 2 / now[1] ** 2 * (now[1] ** 2 - now[0] ** 2 / then[0] ** 2 * then[1] ** 2)
    variance = torch.tensor(variance, dtype=torch.float64).clamp(min=0)
    return then[0] * clean + (then[1] ** 2 - variance).clamp(min=0).sqrt() * noise + variance.sqrt() * z""",
    "guided": """\
def guided(network, x, t, labels, w):
    none = -torch.ones_like(labels)
    both = network(torch.cat([x, x]), torch.cat([t, t]), torch.cat([labels, none]))
    told, plain = both.chunk(2)
    return torch.lerp(plain, told, w.reshape(-1, *[1] * (x.ndim - 1)).expand_as(plain))""",
    "normal": """\
def guided_normal(mean, std, std_all, w):
    variance = torch.tensor(std**2 * std_all**2 / (w * std_all**2 + (1 - w) * std**2))
    return variance * w * mean / std**2, variance.sqrt()""",
    "flow": """\
@torch.no_grad()
def flow_pair(x, noise, t, sigma):
    end = x + sigma * noise
    t = t[(...,) + (None,) * (x.dim() - 1)]
    return noise + t * (end - noise), end - noise""",
    "euler": """\
@torch.no_grad()
def follow(field, noise, steps):
    x, times = noise.clone(), torch.linspace(0, 1, steps + 1)
    for t, after in zip(times[:-1], times[1:]):
        x += (after - t) * field(x, t.repeat(len(x)))
    return x""",
    "field": """\
def best_field(x_t, t, mean, std):
    variance = (t * std) ** 2 + (1 - t) ** 2
    clean = mean + t * std**2 / variance * (x_t - t * mean)
    noise = (1 - t) / variance * (x_t - t * mean)
    return clean - noise""",
    "mistakes": 'def mistakes():\n    return "JGFCB"',
    "bug": """\
def training_step(network, average, optimiser, x, k, noise, rates, decay):
    beside = (len(x),) + (1,) * (x.ndim - 1)
    kept = torch.stack([(1 - rates[:steps]).prod() for steps in k]).reshape(beside)
    error = network(kept.sqrt() * x + (1 - kept).sqrt() * noise, k.double() / len(rates)) - noise
    loss = error.pow(2).sum() / error.numel()
    network.zero_grad()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        for slow, new in zip(average.parameters(), network.parameters()):
            slow.mul_(decay).add_(new, alpha=1 - decay)
    return loss.data""",
    "reverse": """\
def reverse_step(average, x, k, rates, z):
    _, s = shares_after(rates)
    said = average(x, k / len(rates) * torch.ones(len(x))).detach()
    mean = (x - rates[k - 1] / (1 - torch.cumprod(1 - rates, 0)[k - 1]) ** 0.5 * said) / (1 - rates[k - 1]) ** 0.5
    if k == 1:
        return mean
    return mean + rates[k - 1] ** 0.5 * z""",
}

RIGHT: dict[str, dict[str, str]] = {
    "in NumPy": {
        "setup": "import numpy as np",
        "shares": """\
def shares_after(rates):
    kept = np.concatenate([[1.0], np.cumprod(1 - rates.numpy())])
    return torch.from_numpy(np.sqrt(kept)), torch.from_numpy(np.sqrt(1 - kept))""",
        "noisy": """\
def noisy_at(x, k, rates, noise):
    kept = np.append(1.0, np.cumprod(1 - rates.numpy()))[k.numpy()].reshape(-1, *[1] * (x.ndim - 1))
    return torch.from_numpy(np.sqrt(kept) * x.numpy() + np.sqrt(1 - kept) * noise.numpy())""",
        "rates": """\
def rates_for(signal):
    kept = np.r_[1.0, signal.numpy()] ** 2
    return torch.tensor(1 - kept[1:] / kept[:-1])""",
        "target": """\
def loss_target(prediction, x, noise, t):
    time = t.numpy().reshape(-1, *[1] * (x.ndim - 1))
    velocity = torch.from_numpy(noise.numpy() - 2 * time * x.numpy())
    return {"noise": noise, "clean": x, "velocity": velocity}[prediction]""",
        "split": """\
def both_guesses(prediction, said, x_t, t):
    s = t.numpy().reshape(-1, *[1] * (x_t.ndim - 1))
    a, y, x = 1 - s**2, said.numpy(), x_t.numpy()
    if prediction == "velocity":
        clean = (x - s * y) / (1 + s**2)
        return torch.from_numpy(clean), torch.from_numpy(y + 2 * s * clean)
    if prediction == "noise":
        return torch.from_numpy((x - s * y) / a), said
    return said, torch.from_numpy((x - a * y) / s)""",
        "step": """\
def ddim_step(clean, noise, now, then, eta, z):
    (a_t, s_t), (a_r, s_r) = now, then
    fresh = eta * s_r * np.sqrt(max(0, 1 - (a_t * s_r / a_r / s_t) ** 2))
    kept = np.sqrt(s_r**2 - fresh**2)
    return torch.from_numpy(a_r * clean.numpy() + kept * noise.numpy() + fresh * z.numpy())""",
        "guided": """\
def guided(network, x, t, labels, w):
    told, plain = (network(x, t, each).numpy() for each in (labels, torch.full(labels.shape, -1)))
    return torch.from_numpy(plain + w.numpy().reshape(-1, *[1] * (x.ndim - 1)) * (told - plain))""",
        "normal": """\
def guided_normal(mean, std, std_all, w):
    precision = np.dot([w, 1 - w], [1 / std**2, 1 / std_all**2])
    return np.float64(w * mean / std**2 / precision), 1 / np.sqrt(precision)""",
        "flow": """\
def flow_pair(x, noise, t, sigma):
    u = t.numpy().reshape(-1, *[1] * (x.ndim - 1))
    point = u * x.numpy() + (1 - (1 - sigma) * u) * noise.numpy()
    return torch.from_numpy(point), torch.from_numpy(x.numpy() - (1 - sigma) * noise.numpy())""",
        "euler": """\
def follow(field, noise, steps):
    x = noise
    for t in np.arange(steps) / steps:
        x = x + field(x, torch.from_numpy(np.full(len(x), t))) / steps
    return x""",
        "field": """\
def best_field(x_t, t, mean, std):
    x, u = x_t.numpy(), t.numpy()
    slope = (u * std**2 - 1 + u) / (u**2 * std**2 + (1 - u) ** 2)
    return torch.from_numpy(np.asarray(mean + slope * (x - u * mean)))""",
        "reverse": """\
def reverse_step(average, x, k, rates, z):
    said = average(x, torch.from_numpy(np.full(len(x), k / len(rates)))).detach().numpy()
    beta, kept = rates.numpy()[k - 1], np.prod(1 - rates.numpy()[:k])
    mean = (x.numpy() - beta / np.sqrt(1 - kept) * said) / np.sqrt(1 - beta)
    return torch.from_numpy(mean + (np.sqrt(beta) * z.numpy() if k > 1 else 0))""",
    },
    "row by row": {
        "shares": """\
def shares_after(rates):
    kept, a, s = 1.0, [1.0], [0.0]
    for rate in rates.tolist():
        kept *= 1 - rate
        a.append(math.sqrt(kept))
        s.append(math.sqrt(1 - kept))
    return torch.tensor(a), torch.tensor(s)""",
        "noisy": OTHERWISE["noisy"],
        "rates": """\
def rates_for(signal):
    found, before = [], 1.0
    for share in signal.tolist():
        found.append(1 - share**2 / before**2)
        before = share
    return torch.tensor(found)""",
        "target": """\
def loss_target(prediction, x, noise, t):
    rows = []
    for i in range(len(x)):
        velocity = noise[i] - 2 * t[i] * x[i]
        rows.append({"noise": noise[i], "clean": x[i], "velocity": velocity}[prediction])
    return torch.stack(rows)""",
        "split": """\
def both_guesses(prediction, said, x_t, t):
    clean, noise = [], []
    for y, x, s in zip(said, x_t, t.tolist()):
        if prediction == "velocity":
            clean.append((x - s * y) / (1 + s * s))
            noise.append(y + 2 * s * clean[-1])
        else:
            clean.append(y if prediction == "clean" else (x - s * y) / (1 - s * s))
            noise.append(y if prediction == "noise" else (x - (1 - s * s) * y) / s)
    return torch.stack(clean), torch.stack(noise)""",
        "step": """\
def ddim_step(clean, noise, now, then, eta, z):
    rho = now[0] * then[1] / (then[0] * now[1])
    sigma = eta * math.sqrt(max(0, then[1] ** 2 - (rho * then[1]) ** 2))
    rows = []
    for c, e, f in zip(clean, noise, z):
        rows.append(then[0] * c + math.sqrt(then[1] ** 2 - sigma**2) * e + sigma * f)
    return torch.stack(rows)""",
        "guided": """\
def guided(network, x, t, labels, w):
    rows = []
    for i in range(len(x)):
        told = network(x[i : i + 1], t[i : i + 1], labels[i : i + 1])[0]
        plain = network(x[i : i + 1], t[i : i + 1], torch.tensor([-1]))[0]
        rows.append((1 - w[i]) * plain + w[i] * told)
    return torch.stack(rows)""",
        "flow": """\
def flow_pair(x, noise, t, sigma):
    points, targets = [], []
    for a, b, u in zip(x, noise, t.tolist()):
        points.append(u * a + (1 - u + sigma * u) * b)
        targets.append(a - b + sigma * b)
    return torch.stack(points), torch.stack(targets)""",
        "euler": """\
def follow(field, noise, steps):
    x, t = noise, 0.0
    while t < 1 - 1e-9:
        x = x + 1 / steps * field(x, torch.tensor([t for _ in x]))
        t += 1 / steps
    return x""",
        "field": """\
def best_field(x_t, t, mean, std):
    found = []
    for x, u in zip(x_t.tolist(), t.tolist()):
        slope = (u * std**2 - (1 - u)) / ((u * std) ** 2 + (1 - u) ** 2)
        found.append(mean + slope * (x - u * mean))
    return torch.tensor(found)""",
        "bug": OTHERWISE["bug"],
        "reverse": """\
def reverse_step(average, x, k, rates, z):
    kept = 1.0
    for rate in rates.tolist()[:k]:
        kept *= 1 - rate
    beta = rates[k - 1].item()
    with torch.no_grad():
        said = average(x, torch.tensor([k / len(rates)] * len(x)))
    rows = []
    for row, e, fresh in zip(x, said, z):
        row = (row - beta / math.sqrt(1 - kept) * e) / math.sqrt(1 - beta)
        rows.append(row + math.sqrt(beta) * fresh if k > 1 else row)
    return torch.stack(rows)""",
    },
    "in place": {
        "shares": """\
def shares_after(rates):
    a = torch.ones(len(rates) + 1)
    a[1:] = (1 - rates).sqrt()
    a = a.cumprod(dim=0)
    return a, (1 - a * a).sqrt_()""",
        "noisy": """\
def noisy_at(x, k, rates, noise):
    a, s = shares_after(rates)
    result = x.clone()
    result *= a[k].reshape(-1, *[1] * (x.ndim - 1))
    result += s[k].reshape(-1, *[1] * (x.ndim - 1)) * noise
    return result""",
        "rates": """\
def rates_for(signal):
    rates = signal.clone()
    rates[1:] /= signal[:-1]
    rates *= rates.clone()
    return rates.neg_().add_(1)""",
        "step": """\
def ddim_step(clean, noise, now, then, eta, z):
    x = then[0] * clean
    part = eta**2 * max(0.0, 1 - (now[0] * then[1] / then[0] / now[1]) ** 2)
    x += then[1] * math.sqrt(1 - part) * noise
    x += then[1] * math.sqrt(part) * z
    return x""",
        "euler": OTHERWISE["euler"],
        "bug": """\
def training_step(network, average, optimiser, x, k, noise, rates, decay):
    optimiser.zero_grad()
    loss = nn.MSELoss()(network(noisy_at(x, k, rates, noise), k / rates.numel()), noise)
    loss.backward()
    optimiser.step()
    for slow, new in zip(average.parameters(), network.parameters()):
        slow.data.lerp_(new.data, 1 - decay)
    return loss.detach()""",
        "reverse": """\
@torch.no_grad()
def reverse_step(average, x, k, rates, z):
    a, s = shares_after(rates)
    step = x.clone()
    step -= rates[k - 1] / s[k] * average(x, torch.full((x.shape[0],), k / len(rates)))
    step *= a[k - 1] / a[k]
    if k != 1:
        step += torch.sqrt(rates[k - 1]) * z
    return step""",
    },
    "with star imports": {
        "setup": "from numpy import *\nfrom torch.nn.functional import *\nfrom math import *",
        "step": """\
def ddim_step(clean, noise, now, then, eta, z):
    (a_t, s_t), (a_r, s_r) = now, then
    fresh = eta * s_r * (1 - min(1.0, a_t * s_r / (a_r * s_t)) ** 2) ** 0.5
    return a_r * clean + sqrt(s_r**2 - fresh**2) * noise + fresh * z""".replace("min(1.0, ", "minimum(1.0, "),
        "bug": """\
def training_step(network, average, optimiser, x, k, noise, rates, decay):
    loss = mse_loss(network(noisy_at(x, k, rates, noise), k / len(rates)), noise)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    for slow, new in zip(average.parameters(), network.parameters()):
        slow.data.copy_(decay * slow.data + (1 - decay) * new.data)
    return loss.detach()""",
    },
    # Functions that take more than their docstrings say.
    "generous functions": {
        "shares": """\
def shares_after(rates, dim=-1):
    kept = F.pad((1 - rates).cumprod(dim=dim), (1, 0), value=1.0)
    return kept.sqrt(), (1 - kept).clamp(min=0).sqrt()""",
        "noisy": """\
def noisy_at(x, k, rates, noise=None):
    noise = torch.randn_like(x) if noise is None else noise
    a, s = (each[k].reshape(k.shape + (1,) * (x.dim() - k.dim())) for each in shares_after(rates))
    return a * x + s * noise""",
        "step": """\
def ddim_step(clean, noise, now, then, eta=0.0, z=None):
    (a_t, s_t), (a_r, s_r) = (torch.as_tensor(each, dtype=torch.float64) for each in (now, then))
    fresh = eta * s_r * (1 - (a_t * s_r / (a_r * s_t)) ** 2).clamp(min=0).sqrt()
    x = a_r * clean + (s_r**2 - fresh**2).clamp(min=0).sqrt() * noise
    return x if z is None else x + fresh * z""",
        "guided": """\
def guided(network, x, t, labels, w=1.0):
    w = torch.as_tensor(w).reshape(-1, *[1] * (x.dim() - 1))
    plain = network(x, t, torch.full_like(labels, -1))
    return plain + w * (network(x, t, labels) - plain)""",
        "reverse": """\
@torch.no_grad()
def reverse_step(average, x, k, rates, z=None):
    beta, kept = rates[k - 1], (1 - rates[:k]).prod()
    said = average(x, torch.full((len(x),), k / len(rates)))
    mean = (x - beta / (1 - kept).sqrt() * said) / (1 - beta).sqrt()
    return mean if k == 1 or z is None else torch.normal(mean, 0.0) + beta.sqrt() * z""",
    },
}

# What a student is told whose answer is wrong in this way: by question and what is wrong.
DIAGNOSES: dict[str, dict[str, str]] = {
    "shares": {
        "the noise without the root": "You scaled the noise by 1 - alpha-bar; its share is the square root of that.",
        "alpha-bar for the signal": "This is alpha-bar; the share of signal is its square root.",
        "neither has its root": "These are alpha-bar and 1 - alpha-bar; the shares are their square roots.",
        "the last step alone": "This is what each step alone keeps and adds; the shares after k steps depend on all "
        "steps up to the k-th.",
        "the product of the rates": "You scaled the noise by the product of the rates. What multiplies from step to "
        "step is what each step keeps, not its rate.",
        "the rates added": "You added the rates. Each step keeps a part of what the one before has left, so what is "
        "kept has to be multiplied.",
        "shares that add up to 1": "You let the two shares add up to 1. It is the variances that do, the squares of "
        "the shares.",
        "without the example itself": "The first entry is missing: after no step at all the shares are 1 and 0.",
        "exchanged": "The two shares are exchanged: the share of signal comes first.",
        "the given rates overwritten": "You change the rates that you are given; they have to stay as they are.",
        "only the last number of steps": "You return the shares after the last step only; those after 0, 1, 2, … steps "
        "are asked for.",
    },
    "noisy": {
        "the noise without the root": "You scaled the noise by 1 - alpha-bar instead of its square root.",
        "no root at all": "You mixed with alpha-bar and 1 - alpha-bar; the shares are their square roots.",
        "one step too few": "Your shares are those after k - 1 steps; those after k steps are asked for.",
        "all as the first": "You give every example the number of steps of the first one; each has its own.",
        "shares along the last dimension": "Your shares run along the last dimension. Each share belongs to a whole "
        "example, and so along the first one.",
        "the noise subtracted": "You subtract the noise; it is added.",
        "exchanged": "The shares are exchanged: you multiply the example by the share of noise, and the noise by the "
        "share of signal.",
        "the noise not scaled": "You add the noise as it is, without its share.",
        "the signal not scaled": "You take the example as it is, without its share.",
        "the given example overwritten": "You change the examples that you are given; they have to stay as they are.",
    },
    "rates": {
        "the root forgotten": "The root is missing: a step keeps sqrt(1 - beta) of the signal, not 1 - beta.",
        "always from the example": "You let every step begin with the example itself; each begins where the one before "
        "has ended.",
        "what is kept": "This is 1 - beta, what each step keeps of the variance; the rate beta is asked for.",
        "upside down": "Your ratio is upside down, so the rates are negative: compare the share after a step with the "
        "share before it, not the other way round.",
        "differences": "This is by how much the share falls in each step. A step keeps a certain part of the signal "
        "that is there, so ratios count, not differences.",
        "differences of the squares": "This is by how much alpha-bar falls in each step. The rate is a share of what "
        "was there before the step.",
        "without the first step": "The first rate is missing: the first step leads from the share 1 to a_1.",
        "the last step first": "Your rates are in reverse order.",
        "before the first step nothing": "Your first rate is 0, as if the share were a_1 before the first step "
        "already; it is 1 there.",
    },
    "target": {
        "the straight path's": "This is the velocity on the straight path; here the share of signal is 1 - t ** 2.",
        "the circle's": "This is the formula for paths with a ** 2 + s ** 2 = 1; it does not hold on the bent path.",
        "the cosine path's": "This is the formula of the cosine path; it does not hold on the bent path.",
        "sign of the slope": "The signal falls as t grows, so its slope is negative; yours is positive.",
        "half the slope": "Your slope of the signal's share 1 - t ** 2 is half as large as it should be.",
        "the point itself": "This is the point x_t itself; its derivative with respect to t is asked for.",
        "towards the data": "The sign of your velocity is flipped: t grows from the data towards the noise.",
        "noise and example exchanged": "You return the example where the noise is asked for, and the noise where the "
        "clean example is.",
        "the noise of the point": "For the noise you return its part in x_t, with its share; the noise itself is asked "
        "for.",
        "the noisy example for the clean one": "For the clean example you return x_t, the example with its noise.",
        "the first time for all": "You take the time of the first example for all; each has its own.",
    },
    "split": {
        "without the divisor": "From the velocity you solve the two equations but for a divisor: on this path there is "
        "1 + t ** 2 to divide by.",
        "the circle's": "From the velocity, these are the formulas for a ** 2 + s ** 2 = 1; they do not hold on the "
        "bent path.",
        "signal not divided out": "The signal's share is still in your guess of the example: divide by it.",
        "noise not divided out": "The noise's share is still in your guess of the noise: divide by it.",
        "the share of the circle": "You use sqrt(1 - t ** 2), the share of signal on another path; here it is 1 - t ** "
        "2.",
        "the straight path": "These are the formulas of the straight path, on which the share of signal is 1 - t; here "
        "it is 1 - t ** 2.",
        "exchanged": "The two guesses are exchanged: the example comes first, then the noise.",
        "sign of the velocity": "In your guess of the example the velocity has the wrong sign, and as the noise you "
        "return the velocity itself.",
        "divided by what becomes 0": "Your guess of the noise from the velocity divides by t, which is 0 at the data. "
        "Put the guess of the example in and simplify; then nothing is divided by t.",
        "the divisor 1 - t^2": "From the velocity you divide by 1 - t ** 2; on this path there is 1 + t ** 2 to divide "
        "by, which is never 0.",
    },
    "step": {
        "shares of the first time": "These are the shares of the time t, where the step begins; x_r is put together "
        "with those of the time r.",
        "the variance for its root": "You scaled the fresh noise by its variance instead of its square root.",
        "all noise replaced": "With eta = 1 you replace all of the noise; a part rho of what is there is kept.",
        "eta squared": "eta comes in twice; sigma is eta times what it is for eta = 1.",
        "the root of eta": "You take the square root of eta. It is a factor of sigma, not of its square.",
        "rho without the signal": "Your rho is the ratio of the two shares of noise; the shares of signal are in it as "
        "well.",
        "1 - rho": "You replace the part 1 - rho of the variance. If rho of the noise is kept, rho ** 2 of its "
        "variance is kept.",
        "the paper's": "This sigma is the paper's, whose formula needs a ** 2 + s ** 2 = 1; here it is not so.",
        "the noise of the way forward": "Your sigma is that of the noise that the way forward adds between the times r "
        "and t. Derive it from the part rho that is kept.",
        "all of the guessed noise kept": "The guessed noise keeps its whole share although fresh noise is added, so "
        "x_r has too much noise in all.",
        "standard deviations added": "You let the standard deviations of guessed and fresh noise add up to s_r. It is "
        "their variances that add up.",
        "the kept part for eta = 1": "You keep the part rho of the guessed noise whatever eta is; this is right for "
        "eta = 1 alone.",
        "the noise of the first time": "All noise together has the variance that belongs to the time t; it has to be "
        "that of the time r.",
        "guessed and fresh noise exchanged": "Guessed and fresh noise are exchanged: sigma belongs to the fresh noise "
        "z, and kappa to the guessed one.",
        "the example not scaled": "You add the guessed example as it is, without its share a_r.",
        "never fresh noise": "You never add fresh noise, whatever eta is.",
        "always fresh noise": "You always add as much fresh noise as for eta = 1; it does not depend on eta.",
    },
    "guided": {
        "counted from the answer with the class": "You count w from the answer with the class, as Ho and Salimans do; "
        "here w = 0 is the answer without the class.",
        "exchanged": "With and without the class are exchanged: here w = 0 is the answer without it, and w = 1 the "
        "answer with it.",
        "the answer without the class missing": "This is w times the difference of the two answers; the answer without "
        "the class, from which it is counted, is missing.",
        "no further than 1": "You do not let w be larger than 1 or negative; the line goes on in both directions.",
        "one w for all": "You take one w for all examples; each has its own.",
        "w squared": "You square w; the answers for all w lie on a line, on which w says how far to go.",
        "w ignored": "You return the answer with the class, whatever w is.",
        "another label for no class": "You ask for the answer without the class with labels other than -1, the only "
        "one that stands for no class.",
        "the class 0 for no class": "You ask for the answer without the class with the label 0, which is a class; -1 "
        "stands for none.",
        "the labels overwritten": "You change the labels that you are given; they have to stay as they are.",
        "a sum, not a difference": "You add w times the sum of the two answers; what leads from one to the other is "
        "their difference.",
        "w along the last dimension": "Your w runs along the last dimension. Each w belongs to a whole example, and so "
        "along the first one.",
    },
    "normal": {
        "means and spreads on a line": "You put means and standard deviations on a line; it is the logarithms of the "
        "densities that lie on one.",
        "the variance": "Your second number is the variance; the standard deviation is asked for.",
        "the variances weighted": "You weighted means and variances. The logarithms of the densities lie on a line, "
        "and these contain the precisions, 1 / variance.",
        "the mean of the class": "Your mean stays that of the class; guidance moves it too.",
        "the precision": "Your second number is the precision, 1 / variance; the standard deviation is asked for.",
        "counted from the class": "You count w from the class, as Ho and Salimans do; here w = 0 gives the density of "
        "all examples, and w = 1 that of the class.",
        "the mean not divided": "Your mean is not divided by the precision of the guided density.",
        "standard deviations for variances": "You divide by standard deviations where the logarithm of a normal "
        "density contains variances.",
        "all examples forgotten": "Your answer does not depend on the density of all examples, whose logarithm has the "
        "weight 1 - w.",
    },
    "flow": {
        "time upside down": "Your path leads from the data to the noise; in this question time runs from the noise to "
        "the data.",
        "sigma forgotten in both": "sigma is missing, in the point and in the target: at the end of the path a little "
        "noise is left.",
        "sigma forgotten in the target": "sigma is missing in the target: this is the velocity of a path that ends at "
        "the example itself.",
        "away from the data": "The sign of your target is flipped: it leads away from the data.",
        "the clean example": "Your target is the clean example; the velocity of the point is asked for.",
        "the point for its velocity": "Your target is the point itself; its velocity is asked for.",
        "sigma added at all times": "You add sigma to the noise's share at all times; the share has to fall from 1 at "
        "t = 0 to sigma at t = 1.",
        "the first time for all": "You take the time of the first example for all; each has its own.",
        "time along the last dimension": "Your times run along the last dimension. Each time belongs to a whole "
        "example, and so along the first one.",
        "the noise left twice": "The sign of sigma is flipped in your target: differentiate the noise's share once "
        "more.",
    },
    "euler": {
        "backwards in time": "You tell the field times that fall; time runs from 0, the noise, to 1, the data.",
        "where the step ends": "You ask the field at the time where a step ends; Euler's method takes the velocity "
        "where it begins.",
        "away from the data": "Your steps lead away from the data: the velocity is added, not subtracted.",
        "steps of length 1": "Each of your steps is 1 long; all steps together have the length 1.",
        "one step too few": "You make one step too few.",
        "one step too many": "You make one step too many.",
        "whole numbers for times": "You tell the field the number of the step; it takes a time from 0 to 1.",
        "up to the end": "Your times go on to 1. The last step begins before the end, at 1 - 1 / steps.",
        "always at the noise": "You ask the field at the noise again and again; each step begins where the one before "
        "has ended.",
        "one time for all": "You tell the field one time for all examples; it takes one for each, in the shape "
        "(batch,).",
        "the noise overwritten": "You change the noise that you are given; it has to stay as it is.",
        "asked twice": "You call the field twice in each step; once is asked for.",
    },
    "field": {
        "the mean of the point forgotten": "You do not subtract the mean of x_t, which is t * mean.",
        "the mean of the target forgotten": "The mean of the target is missing in your answer; it is the mean of the "
        "data.",
        "sign of the covariance": "The covariance of target and point has the wrong sign.",
        "standard deviations for variances": "You use standard deviations where variances belong.",
        "the data's mean for the point's": "You subtract the mean of the data; the mean of x_t is t times that.",
        "variances not squared": "In your variance of x_t the factors t and 1 - t are not squared.",
        "time upside down": "Your time runs from the data to the noise; in this question it is the other way round.",
        # The same formula as the next one.
        "the noise independent of the point": "Your covariance with x_t is that of the example alone. The target "
        "contains the noise as well, and x_t depends on it.",
        "towards the guessed example, at once": "Your covariance with x_t is that of the example alone, so this is the "
        "best guess of the example; the target contains the noise as well.",
        "signs of both": "In your covariance the noise's part has the wrong sign: the noise is subtracted in the "
        "target, and added in x_t.",
    },
    "mistakes": {
        "four of five": "Four of the five letters are right; one is not.",
        "three of five": "Fewer than four letters are right. For each statement, look for the line that it is about.",
        "the other five": "Fewer than four letters are right. For each statement, look for the line that it is about.",
        "all ten": "These are all ten letters; exactly five statements are true.",
        "a list": "This is a list; the letters are asked for in one string.",
        "a letter twice": "One letter appears twice; five different letters are asked for.",
        "letters that do not exist": "There is a letter after J among yours; the statements have the letters A to J.",
    },
    "bug": {
        "all mistakes left": "This step still does what faulty_step does.",
        "the noise without the root": "You scaled the noise by 1 - alpha-bar instead of its square root.",
        "the time not told": "The network is not told the time: it always gets 0.",
        "the target from the noisy example": "The target is taken from the noisy example: it is x_k - x. The network "
        "has to predict the noise itself.",
        "the average hardly averages": "The two shares of the average are exchanged, so that it hardly averages: decay "
        "is the share of the old average.",
        "the number of steps for the time": "You tell the network the number of steps; it takes that number as a share "
        "of all steps.",
        "the first step ends at 0": "Your times are those of k - 1 steps: the first step ends at 1 / steps, not at 0.",
        "the clean example for a target": "The loss compares the network's answer with the clean example; it has to "
        "predict the noise.",
        "gradients never cleared": "The gradients that are left over from earlier steps are not cleared, and add to "
        "the new ones.",
        "no step": "The network makes no step.",
        "the average does not follow": "The average stays as it is; it has to follow the network.",
        "the average is the network": "Your average is the newest network, without a share of the old average.",
        "the sum of the errors": "The squared errors are summed; their mean is asked for.",
    },
    "reverse": {
        "fresh noise in the last step": "You add fresh noise in the last step too, after which nothing removes it.",
        "never fresh noise": "Fresh noise is missing in the steps before the last one.",
        "the variance of the fresh noise": "You scaled the fresh noise by its variance beta instead of its square "
        "root.",
        "a step too far": "Your alpha-bar is that after k - 1 steps; the points have made k.",
        "multiplied": "You multiply by the square root of 1 - beta; the step back divides by it.",
        "the guess not scaled": "You subtract the guessed noise as it is, without its factor.",
        "beta-bar": "You multiplied the rates; alpha-bar is the product of what each step keeps.",
        "the time of the end of the step": "You tell the network the time at the end of the step; the points that it "
        "sees have made k steps.",
        "with a gradient": "Your points still have their graph; drawing needs no gradient.",
        "the guess added": "You add the guessed noise; the step back removes it.",
    },
}
