"""Captions and scenes, the contrastive loss and model, the reader, cross-attention and the generator."""

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from aigc_course import diffusion, text_to_image, training
from aigc_course.data import ImageData
from aigc_course.text_to_image import END, LENGTH, PAD, SIZES, WORDS, Text

TINY: dict[str, Any] = {"features": 8, "width": 8, "layers": 1, "heads": 2}


def captions_of(rows: Tensor) -> list[str]:
    return [text_to_image.caption(row) for row in rows]


def encoder() -> text_to_image.TextEncoder:
    torch.manual_seed(0)
    network = text_to_image.TextEncoder(**TINY)
    for weight in network.parameters():  # the blocks would begin as the identity
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.5)
    return network


def artist() -> text_to_image.TextToImage:
    torch.manual_seed(0)
    network = text_to_image.TextUNet((1, 28, 28), 8, width=8, features=8)
    for weight in network.parameters():  # the last layer would begin at 0
        nn.init.normal_(weight, std=0.2)
    return text_to_image.TextToImage(network, encoder(), ema_decay=0.5)


# --- captions ---------------------------------------------------------------------------------------------------------


def test_captions_say_what_is_asked() -> None:
    assert text_to_image.caption([1, 0, 7, 1]) == "two small sevens tilted left"
    assert text_to_image.caption(torch.tensor([0, 1, 6, 0])) == "one large six upright"
    assert text_to_image.caption([1, 1, 6, 2]) == "two large sixes tilted right"
    everything = captions_of(text_to_image.combinations())
    assert len(set(everything)) == 120


def test_tokens_are_words_an_end_and_padding() -> None:
    tokens = text_to_image.tokens_of(["one large six upright", "two small sevens tilted left", ""])
    assert tokens.shape == (3, LENGTH)
    assert [WORDS[k] for k in tokens[0, :4]] == ["one", "large", "six", "upright"]
    assert tokens[0, 4:].tolist() == [END, PAD]
    assert tokens[2].tolist() == [END] + [PAD] * (LENGTH - 1)
    assert len(WORDS) == len(set(WORDS))
    assert len(text_to_image.tokens_of([])) == 0


def test_a_fifth_is_unseen_and_every_pair_of_values_is_seen() -> None:
    parts = {name: text_to_image.combinations(name) for name in ("all", "seen", "unseen")}
    rows = {name: {tuple(row) for row in part.tolist()} for name, part in parts.items()}
    assert {name: len(part) for name, part in parts.items()} == {"all": 120, "seen": 96, "unseen": 24}
    assert rows["seen"] | rows["unseen"] == rows["all"]
    for a in range(4):
        for b in range(a):
            pairs = {tuple(pair) for pair in parts["seen"][:, [b, a]].tolist()}
            assert len(pairs) == SIZES[a] * SIZES[b]
            hidden = parts["unseen"][:, [b, a]].unique(dim=0)
            assert len(hidden) >= 0.6 * SIZES[a] * SIZES[b], "the unseen ones are spread too"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_unseen_combinations_are_in_no_batch_of_the_seen(split: str) -> None:
    data = text_to_image.SceneData("seen", rounds=1)
    hidden = {tuple(row) for row in text_to_image.combinations("unseen").tolist()}
    scenes, captions, wanted = data.split(split)
    assert len(scenes) == len(captions) == len(wanted) == 96
    assert not hidden & {tuple(row) for row in wanted.tolist()}
    assert torch.equal(captions, text_to_image.tokens_of(captions_of(wanted)))


# --- scenes -----------------------------------------------------------------------------------------------------------


def bar(count: int) -> Tensor:
    """Upright bars, 20 pixels high, of which the upper half is brighter."""
    picture = torch.zeros(count, 1, 28, 28)
    picture[:, :, 4:24, 12:16] = 0.5
    picture[:, :, 4:10, 12:16] = 1.0
    return picture


def middle(scene: Tensor) -> tuple[Tensor, Tensor]:
    """(right, down) of the ink's middle, in pixels from that of the scene, and its covariance."""
    points = torch.arange(28) - 13.5
    ink = scene[0] / scene.sum()
    places = torch.stack([points.expand(28, 28), points[:, None].expand(28, 28)], dim=-1)
    centre = torch.einsum("hw,hwk->k", ink, places)
    off = places - centre
    return centre, torch.einsum("hw,hwk,hwl->kl", ink, off, off)


def composed(*rows: list[int]) -> Tensor:
    wanted = torch.tensor(rows)
    return text_to_image.compose(bar(len(rows)), bar(len(rows)), wanted, jitter=0.0)


def test_a_single_bar_stands_in_the_middle_and_leans_as_asked() -> None:
    upright, left, right = composed([0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 2])
    for scene, lean in ((upright, 0.0), (left, 30.0), (right, -30.0)):
        centre, covariance = middle(scene)
        assert centre.abs().max() < 0.2
        long = torch.linalg.eigh(covariance).eigenvectors[:, 1]
        # Down and to the right is positive: what leans to the left goes down to the right.
        angle = math.degrees(math.atan(long[0] / long[1]))
        assert angle == pytest.approx(lean, abs=1.0)
    half = torch.arange(28) < 14  # the bright half stays on top, and goes to the side that was asked for
    assert upright[0, half].sum() > upright[0, ~half].sum()
    for scene, side in ((left, half), (right, ~half)):
        assert (scene[0, :9] * side).sum() > 2 * (scene[0, :9] * ~side).sum()


def test_sizes_are_in_the_ratio_of_the_scales() -> None:
    heights = []
    for scene in composed([0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0]):
        rows = scene[0, :, :14].sum(dim=1)
        heights.append(float((rows > 0.25 * rows.max()).sum()))
    small, large, of_two = heights
    assert small == pytest.approx(20 * text_to_image.SCALES[0], abs=1)
    assert large == pytest.approx(20 * text_to_image.SCALES[1], abs=1)
    assert of_two == pytest.approx(small * text_to_image.BESIDE, abs=1.5)


def test_two_are_beside_each_other_and_one_leaves_the_second_out() -> None:
    one, two = composed([0, 0, 1, 0], [1, 0, 1, 0])
    assert two[0, :, :14].sum() == pytest.approx(float(two[0, :, 14:].sum()), rel=0.02)
    assert two[0, :, 13:15].sum() < 0.01 * two.sum()
    nothing = text_to_image.compose(bar(1), torch.ones(1, 1, 28, 28), torch.tensor([[0, 0, 1, 0]]), jitter=0.0)
    torch.testing.assert_close(nothing[0], one)


def test_slanted_writing_is_sheared_upright() -> None:
    slanted = torch.zeros(1, 1, 28, 28)
    for row in range(4, 24):
        slanted[0, 0, row, 18 - row // 3 : 22 - row // 3] = 1.0
    _, slant = text_to_image.slants(slanted)
    assert slant == pytest.approx(-1 / 3, abs=0.03)
    scene = text_to_image.compose(slanted, slanted, torch.tensor([[0, 1, 1, 0]]), jitter=0.0)
    assert text_to_image.slants(scene)[1].abs() < 0.03


def test_an_upright_digit_of_its_own_size_is_the_digit() -> None:
    """With the scale 1 nothing but the mean over four points happens."""
    picture = F.avg_pool2d(bar(1), 3, 1, 1)
    same = text_to_image._placed(picture, torch.ones(1), torch.zeros(1), torch.zeros(1, 2))
    place, _ = text_to_image.slants(picture)
    shift = place[0, 1] - 13.5  # the ink's middle is brought to the scene's
    assert shift.abs() > 0.5
    torch.testing.assert_close(same.sum(), picture.sum(), rtol=0.01, atol=0.1)
    assert middle(same[0])[0].abs().max() < 0.02


def test_scenes_show_the_digit_that_is_asked_for() -> None:
    images = torch.zeros(10, 1, 28, 28)
    for k in range(10):
        images[k, 0, 4:24, 10:18] = (k + 1) / 10
    wanted = text_to_image.combinations()
    scenes = text_to_image.scenes_of(wanted, (images, torch.arange(10)))
    brightest = scenes.flatten(1).amax(dim=1)
    torch.testing.assert_close(brightest, (wanted[:, 2] + 1) / 10, rtol=0, atol=0.02)
    again = text_to_image.scenes_of(wanted, (images, torch.arange(10)))
    assert torch.equal(scenes, again)
    assert not torch.equal(scenes, text_to_image.scenes_of(wanted, (images, torch.arange(10)), seed=1))


def test_batches_have_one_scene_of_each_caption_or_are_drawn_evenly() -> None:
    data = text_to_image.SceneData("seen", rounds=3, batch_size=None)
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for scenes, captions in batches:
        assert scenes.shape == (96, 1, 28, 28)
        assert len(captions.unique(dim=0)) == 96
    everything = torch.cat([scenes for scenes, *_ in batches]).flatten(1).unique(dim=0)
    assert len(everything) == len(data.split("train")[0].flatten(1).unique(dim=0))
    signed = text_to_image.SceneData("unseen", rounds=1, batch_size=10, signed=True)
    scenes, captions = next(iter(signed.train_dataloader()))
    assert scenes.min() == -1
    assert len(scenes) == len(captions) == 10
    assert signed.split("train")[0].min() == 0
    for_reader = text_to_image.SceneData("all", rounds=1, batch_size=120, targets="combinations")
    _, wanted = next(iter(for_reader.val_dataloader()))
    assert torch.equal(wanted, text_to_image.combinations())


# --- the contrastive model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 96])
def test_the_loss_of_equal_logits_is_the_logarithm_of_the_batch(n: int) -> None:
    assert float(text_to_image.info_nce(torch.full((n, n), 3.0))) == pytest.approx(math.log(n), abs=1e-5)


def test_the_loss_is_its_formula_and_treats_both_sides_alike() -> None:
    logits = torch.randn(5, 5)
    by_hand = 0.0
    for i in range(5):
        by_hand -= float(logits[i, i].exp().div(logits[i].exp().sum()).log()) / 10
        by_hand -= float(logits[i, i].exp().div(logits[:, i].exp().sum()).log()) / 10
    assert float(text_to_image.info_nce(logits)) == pytest.approx(by_hand, rel=1e-5)
    torch.testing.assert_close(text_to_image.info_nce(logits), text_to_image.info_nce(logits.T))
    order = torch.randperm(5)
    torch.testing.assert_close(text_to_image.info_nce(logits), text_to_image.info_nce(logits[order][:, order]))
    perfect = torch.eye(96) / 0.1
    assert float(text_to_image.info_nce(perfect)) == pytest.approx(math.log(1 + 95 * math.exp(-10)), rel=1e-3)


def test_the_loss_pulls_pairs_together_and_pushes_others_apart() -> None:
    logits = torch.randn(6, 6, requires_grad=True)
    text_to_image.info_nce(logits).backward()
    assert logits.grad is not None
    assert (logits.grad.diag() < 0).all()
    assert (logits.grad[~torch.eye(6, dtype=torch.bool)] > 0).all()
    torch.testing.assert_close(logits.grad.sum(), torch.tensor(0.0), rtol=0, atol=1e-6)


def test_the_end_has_read_all_words_and_nothing_behind_it_counts() -> None:
    network, tokens = encoder(), text_to_image.tokens_of(["two small sevens tilted left", "one large six upright"])
    text = network(tokens)
    torch.testing.assert_close(text.pooled.norm(dim=1), torch.ones(2))
    assert text.mask.sum(dim=1).tolist() == [6, 5]
    padded = tokens.clone()
    padded[1, 5] = 4  # a word behind the end
    torch.testing.assert_close(network(padded).pooled, text.pooled)
    for place in range(4):
        changed = tokens.clone()
        changed[1, place] = 7
        assert (network(changed).pooled[1] - text.pooled[1]).abs().max() > 1e-3
    mixed = tokens[:, [1, 0, 2, 3, 4, 5]]
    assert (network(mixed).pooled - text.pooled).abs().max() > 1e-3, "the order counts"


def test_the_best_candidate_is_the_most_similar_one() -> None:
    model = text_to_image.Contrastive(text_to_image.PictureEncoder(8, 8), encoder()).eval()
    candidates, tokens = torch.rand(3, 4, 1, 28, 28), text_to_image.tokens_of(["one", "two", "three"])
    best = text_to_image.best_of(model, candidates, tokens)
    for group, kept, token in zip(candidates, best, tokens, strict=True):
        scores = model.similarities(group, token[None])[:, 0]
        assert torch.equal(kept, group[scores.argmax()])
    assert torch.equal(text_to_image.best_of(model, candidates[:, :1], tokens), candidates[:, 0])


def stripes(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes of four kinds that any network can tell apart, with captions of their own."""
    rows = torch.tensor([[0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1]])
    scenes = 0.3 * torch.rand(count, 4, 1, 28, 28)
    for k in range(4):
        scenes[:, k, :, :, 7 * k : 7 * k + 7] += 0.7
    tokens = text_to_image.tokens_of(captions_of(rows))
    return scenes.flatten(0, 1), tokens.repeat(count, 1), rows.repeat(count, 1)


def test_a_short_training_matches_pictures_and_captions() -> None:
    torch.manual_seed(0)
    model = text_to_image.Contrastive(text_to_image.PictureEncoder(8, 8), text_to_image.TextEncoder(**TINY))
    examples = TensorDataset(*stripes(60)[:2])
    # In order: each batch of four has each caption once.
    training.fit(model, DataLoader(examples, batch_size=4), max_epochs=3, enable_progress_bar=False)
    scenes, tokens, _ = stripes(10)
    with torch.no_grad():
        found = model.similarities(scenes, tokens[:4]).argmax(dim=1)
    assert (found == torch.arange(4).repeat(10)).float().mean() > 0.95
    assert model.log_scale != math.log(1 / 0.07)


def test_a_short_training_reads_scenes() -> None:
    torch.manual_seed(0)
    model = text_to_image.Reader(text_to_image.PictureEncoder(sum(SIZES), 8))
    scenes, _, rows = stripes(60)
    loader = DataLoader(TensorDataset(scenes, rows), batch_size=16, shuffle=True)
    history = training.fit(model, loader, max_epochs=3, enable_progress_bar=False)
    assert history["train_loss"][-1] < history["train_loss"][0] < sum(math.log(size) for size in SIZES)
    scenes, _, rows = stripes(10)
    assert text_to_image.agreement(model.read(scenes), rows)["all"] > 0.95


def test_agreement_counts_each_attribute_and_all_of_them() -> None:
    asked = torch.tensor([[0, 0, 1, 0], [1, 1, 2, 2], [1, 0, 3, 1], [0, 1, 4, 0]])
    seen = asked.clone()
    seen[0, 2] = 9
    seen[1, 0] = 0
    seen[1, 3] = 0
    shares = text_to_image.agreement(seen, asked)
    assert shares == {"count": 0.75, "size": 1.0, "digit": 0.75, "tilt": 0.75, "all": 0.5}


# --- the generator ----------------------------------------------------------------------------------------------------


def test_cross_attention_ignores_what_is_masked() -> None:
    layer, x = text_to_image.CrossAttention(8, 6, heads=2), torch.randn(2, 8, 3, 3)
    nn.init.normal_(layer.out.weight)
    states, mask = torch.randn(2, 4, 6), torch.tensor([[True, True, False, False], [True] * 4])
    pooled = torch.zeros(2, 1)
    out = layer(x, Text(states, mask, pooled))
    changed = torch.where(mask[..., None], states, 100.0)
    torch.testing.assert_close(layer(x, Text(changed, mask, pooled)), out)
    weights, _ = layer.attend(x, Text(states, mask, pooled))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 9))
    assert weights[0, :, :, 2:].max() == 0
    assert weights[1].min() > 0
    cut = layer(x[:1], Text(states[:1, :2], mask[:1, :2], pooled[:1]))
    torch.testing.assert_close(cut, out[:1])


def test_cross_attention_is_pytorchs_attention_and_begins_as_the_identity() -> None:
    layer, x = text_to_image.CrossAttention(8, 6, heads=2), torch.randn(2, 8, 3, 3)
    text = Text(torch.randn(2, 4, 6), torch.rand(2, 4).round().bool().index_fill(1, torch.tensor(0), True), x[:, 0, 0])
    assert torch.equal(layer(x, text), x)
    weights, v = layer.attend(x, text)
    q = layer.query(layer.norm(x)).flatten(2).unflatten(1, (2, 4)).transpose(2, 3)
    k = layer.keys_values(text.states)[..., :8].unflatten(2, (2, 4)).transpose(1, 2)
    fused = F.scaled_dot_product_attention(q, k, v, attn_mask=text.mask[:, None, None])
    torch.testing.assert_close(weights @ v, fused)


def test_a_new_network_says_nothing_and_is_reached_by_both_ways() -> None:
    torch.manual_seed(0)
    network = text_to_image.TextUNet((1, 28, 28), 8, width=8, features=8)
    x, t = torch.randn(2, 1, 28, 28), torch.rand(2)
    text = encoder()(text_to_image.tokens_of(["one small two upright", "two large zeros tilted left"]))
    assert network(x, t, text).abs().max() == 0
    network = cast(text_to_image.TextUNet, artist().network)
    said = network(x, t, text)
    for other in (text._replace(states=-text.states), text._replace(pooled=-text.pooled)):
        assert (network(x, t, other) - said).abs().max() > 1e-4


def test_the_frozen_encoder_gets_no_gradient_and_does_not_move() -> None:
    model = artist()
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    examples = TensorDataset(torch.randn(8, 1, 28, 28), text_to_image.tokens_of(["one small two upright"] * 8))
    training.fit(model, DataLoader(examples, batch_size=4), max_epochs=1, enable_progress_bar=False)
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    assert all(weight.grad is None and not weight.requires_grad for weight in model.encoder.parameters())
    trained = {id(weight) for group in cast(Any, model.optimizers()).param_groups for weight in group["params"]}
    assert trained == {id(weight) for weight in model.network.parameters()}


def test_guidance_goes_from_no_caption_through_the_caption() -> None:
    model, x, t = artist(), torch.randn(2, 1, 28, 28), torch.full((2,), 0.5)
    text = model.told(text_to_image.tokens_of(["one small two upright", "two large zeros tilted left"]))
    empty = model.told(text_to_image.tokens_of(["", ""]))
    without, once, twice = (model.guess(text, scale)(x, t)[0] for scale in (0.0, 1.0, 2.0))
    torch.testing.assert_close(without, model.guess(empty)(x, t)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(twice, 2 * once - without, rtol=1e-4, atol=1e-4)
    assert (once - without).abs().max() > 1e-4


def test_for_all_examples_untold_the_caption_makes_no_difference() -> None:
    losses = []
    for words in ("one small two upright", "two large zeros tilted left"):
        model = artist()
        model.untold = 1.0
        batch = [torch.linspace(-1, 1, 3 * 784).view(3, 1, 28, 28), text_to_image.tokens_of([words] * 3)]
        torch.manual_seed(1)
        losses.append(model.training_step(batch, 0).item())
    assert losses[0] == losses[1]


def test_pictures_do_not_depend_on_the_batches_they_are_drawn_in() -> None:
    model, tokens = artist(), text_to_image.tokens_of(["one small two upright", "two large zeros tilted left", ""])
    whole, parts = (model.draw(tokens, steps=2, seed=3, batch_size=size) for size in (3, 2))
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-4)
    assert whole.shape == (3, 1, 28, 28)
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_it_learns_to_draw_what_the_caption_says() -> None:
    torch.manual_seed(0)
    network = text_to_image.TextUNet((1, 8, 8), 16, width=8, features=8)
    model = text_to_image.TextToImage(network, encoder(), ema_decay=0.9, learning_rate=5e-3)
    words = ["one small two upright", "two large zeros tilted left"]
    tokens = text_to_image.tokens_of(words)
    x = torch.full((256, 1, 8, 8), -1.0)
    x[::2, :, :4], x[1::2, :, 4:] = 1.0, 1.0
    loader = DataLoader(TensorDataset(x, tokens.repeat(128, 1)), batch_size=16, shuffle=True)
    training.fit(model, loader, max_epochs=8, enable_progress_bar=False)
    drawn = model.draw(tokens.repeat(10, 1), guidance=2.0, steps=10)
    upper = drawn[:, 0, :4].mean(dim=(1, 2)) - drawn[:, 0, 4:].mean(dim=(1, 2))
    assert (upper[::2] > 0.3).float().mean() > 0.8
    assert (upper[1::2] < -0.3).float().mean() > 0.8


def test_the_recipes_train_and_are_kept(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_COURSE_DATA", str(tmp_path))
    model, history = text_to_image.train("text_to_image", "smoke")  # the contrastive model first
    assert set(history) == {"train_loss", "val_loss"}
    assert history["val_loss"][-1] < 3
    assert set(text_to_image.train("reader", "smoke")[1]) == {"train_loss", "val_loss", "val_accuracy"}
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    again, matcher = (
        text_to_image.pretrained("text_to_image", "smoke"),
        text_to_image.pretrained("contrastive", "smoke"),
    )
    tokens = text_to_image.tokens_of(["two small sevens tilted left"])
    drawn = [m.draw(tokens, steps=2) for m in (model, again)]
    assert torch.equal(*drawn)
    for a, b in zip(again.encoder.parameters(), matcher.texts.parameters(), strict=True):
        assert torch.equal(a, b)
    for name in text_to_image.MODELS:
        for profile in training.PROFILES:
            settings = text_to_image.recipe(name, profile)
            assert set(settings) == {"data", "model", "fit"}
            # Only the judge may see all combinations.
            assert settings["data"]["which"] == ("all" if name == "reader" else "seen")


def test_the_scenes_are_made_of_the_digits_of_their_split() -> None:
    data = text_to_image.SceneData("all", rounds=1)
    for split, seed in (("train", 0), ("validation", 1), ("test", 2)):
        scenes, _, wanted = data.split(split)
        expected = text_to_image.scenes_of(wanted, ImageData("digits").split(split), seed=seed)
        assert (scenes - expected).abs().max() <= 0.5 / 255 + 1e-6


# --- wrong arguments --------------------------------------------------------------------------------------------------


def contrastive(features: int) -> text_to_image.Contrastive:
    return text_to_image.Contrastive(text_to_image.PictureEncoder(features, 8), encoder())


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: text_to_image.combinations("none"), "which is 'none'; it takes 'all', 'seen' or 'unseen'"),
        (lambda: text_to_image.caption([0, 0, 10, 0]), r"combination is \[0, 0, 10, 0\].*digit below 10"),
        (lambda: text_to_image.caption([0, 0, 1]), "it takes four whole numbers"),
        (lambda: text_to_image.tokens_of(["one blue seven"]), "has the unknown word 'blue'; there are"),
        (lambda: text_to_image.tokens_of(["one " * 6]), "has 6 words; it takes 5 at most"),
        (lambda: composed([2, 0, 1, 0]), r"values up to \[2, 0, 1, 0\]"),
        (lambda: text_to_image.compose(bar(1), bar(1), torch.zeros(1, 4).long(), jitter=-1.0), "jitter is -1.0"),
        (
            lambda: text_to_image.scenes_of(torch.tensor([[0, 0, 3, 0]]), (bar(2), torch.tensor([1, 2]))),
            "digits hold no picture of a three",
        ),
        (lambda: text_to_image.SceneData("seen", rounds=0), "rounds is 0"),
        (lambda: text_to_image.SceneData("seen", batch_size=0), "batch_size is 0"),
        (lambda: text_to_image.SceneData("some"), "which is 'some'"),
        (lambda: text_to_image.SceneData(targets="words"), "targets is 'words'; it takes 'captions' or"),
        (lambda: text_to_image.PictureEncoder(8, 12), "channels is 12; it takes a multiple of 8"),
        (lambda: text_to_image.PictureEncoder(0, 8), "features is 0"),
        (lambda: text_to_image.TextEncoder(0), "features is 0"),
        (lambda: text_to_image.info_nce(torch.zeros(2, 3)), r"logits has the shape \(2, 3\); it takes a square"),
        (lambda: contrastive(7), "pictures gives 7 features and texts 8"),
        (lambda: text_to_image.Reader(text_to_image.PictureEncoder(16, 8)), "network gives 16 features; it takes 17"),
        (lambda: text_to_image.agreement(torch.zeros(0, 4).long(), torch.zeros(0, 4).long()), r"seen has the shape"),
        (
            lambda: text_to_image.best_of(contrastive(8), torch.rand(2, 3, 1, 28, 28), text_to_image.tokens_of([""])),
            "2 groups of candidates and 1 captions",
        ),
        (lambda: encoder()(torch.zeros(2, LENGTH).long()), "with an end in each row"),
        (lambda: encoder()(torch.full((1, LENGTH), 99)), "whole numbers from 0 to"),
        (lambda: artist().draw(text_to_image.tokens_of([""]), guidance=math.nan, steps=1), "guidance is nan"),
        (lambda: artist().draw(text_to_image.tokens_of([""]), steps=0), "steps is 0"),
        (lambda: text_to_image.TextToImage(diffusion.UNet((1, 8, 8), 8), encoder(), path="sine"), "path is 'sine'"),
        (lambda: text_to_image.recipe("painter"), "name is 'painter'; it takes 'contrastive', 'reader' or"),
        (lambda: text_to_image.recipe("reader", "fast"), "profile is 'fast'"),
        (lambda: text_to_image.train("painter"), "name is 'painter'"),
        (lambda: text_to_image.pretrained("painter"), "name is 'painter'"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.bad_input
def test_scenes_of_another_shape_are_named() -> None:
    examples = TensorDataset(torch.randn(4, 1, 12, 12), text_to_image.tokens_of([""] * 4))
    with pytest.raises(ValueError, match=r"shape \(1, 12, 12\); the network takes \(1, 28, 28\)"):
        training.fit(artist(), DataLoader(examples, batch_size=4), max_epochs=1, enable_progress_bar=False)


@pytest.mark.bad_input
def test_a_prediction_of_the_noise_says_nothing_where_no_signal_is_left() -> None:
    model = text_to_image.TextToImage(text_to_image.TextUNet((1, 28, 28), 8, 8, 8), encoder(), prediction="noise")
    with pytest.raises(ValueError, match="less than a thousandth of the signal is left"):
        model.draw(text_to_image.tokens_of(["one small one upright"]), steps=2)
