"""Models leave Python by `torch.export` and by ONNX, for batches (and, in a GPT, texts) of any length.

How to do it is what `exported` and `in_onnx` do: switch the model to evaluation, give one example of the inputs, name
the axes that may change. A network of a `LightningModule` is exported by itself (`gan.generator`, `agent.network`); a
method is, as the `forward` of a small module around the model (`Method`).
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves

from aigc_course import dqn, gan, gpt, lora, recurrent, vae

BATCH = Dim("batch", min=1, max=256)
CONTEXT, VOCABULARY = 16, 11
TIME = Dim("time", min=1, max=CONTEXT)

Run = Callable[..., list[Tensor]]


class Method(nn.Module):
    """A model's method as a module, which is what the exporters take."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.method = model, name

    def forward(self, *inputs: Tensor) -> Any:
        return getattr(self.model, self.method)(*inputs)


def exported(model: nn.Module, example: tuple[Any, ...], shapes: Any) -> Run:
    content = io.BytesIO()
    torch.export.save(torch.export.export(model, example, dynamic_shapes=shapes), content)
    content.seek(0)
    program = torch.export.load(content).module()  # as another process would read it
    return lambda *inputs: tree_leaves(program(*inputs))


def in_onnx(model: nn.Module, example: tuple[Any, ...], shapes: Any) -> Run:
    program = torch.onnx.export(model, example, dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: Any) -> list[Tensor]:
        given = dict(zip(names, (value.numpy() for value in tree_leaves(inputs)), strict=True))
        return [torch.from_numpy(np.asarray(value)) for value in session.run(None, given)]

    return run


EXPORTERS = pytest.mark.parametrize("export", [exported, in_onnx], ids=["torch", "onnx"])
pytestmark = [
    # What the exporters say of each other's functions is not ours to change.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*The axis name. batch will not be used"),
    pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm._flat_weights"),
]


def agree(export: Callable[..., Run], model: nn.Module, shapes: Any, *inputs: tuple[Any, ...]) -> None:
    """The first of `inputs` is the example; on all of them the exported model gives what the model gives."""
    for module in model.modules():  # weights and statistics that begin at 0 or 1 would hide mistakes
        for value in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            if value.is_floating_point() and value.std(correction=0) == 0:
                value.data.add_(0.1 * torch.rand_like(value))
    model.eval()
    run = export(model, inputs[0], shapes)
    with torch.no_grad():
        for given in inputs:
            torch.testing.assert_close(run(*given), tree_leaves(model(*given)), rtol=1e-5, atol=1e-5)


def labels(n: int) -> Tensor:
    return torch.arange(n) % 10


@EXPORTERS
@pytest.mark.parametrize(
    "generator",
    [
        gan.DenseGenerator(8, (1, 28, 28), width=8, normalise=True),
        gan.ConvGenerator(8, (1, 28, 28), channels=2),
        gan.ConvGenerator(8, (3, 32, 32), channels=2, hidden=4),
    ],
    ids=["dense", "convolutional", "colour"],
)
def test_generators(export: Callable[..., Run], generator: nn.Module) -> None:
    agree(export, generator, ({0: BATCH},), *((torch.randn(n, 8),) for n in (3, 1, 7)))


@EXPORTERS
@pytest.mark.parametrize("conditioning", ["batch_norm", "concatenation"])
def test_conditional_generators(export: Callable[..., Run], conditioning: str) -> None:
    network: dict[str, Any] = {"shape": (1, 28, 28), "channels": 2, "num_classes": 10}
    made = gan.ConvGenerator(8, **network, conditioning=conditioning)
    model = gan.GAN(made, gan.ConvDiscriminator(**network), ema_decay=0.9)
    assert model.averaged is not None
    generator = model.averaged.module  # the one that the samples come from
    agree(export, generator, ({0: BATCH}, {0: BATCH}), *((torch.randn(n, 8), labels(n)) for n in (3, 1, 12)))


@EXPORTERS
@pytest.mark.parametrize("method", ["encode", "decode"])
@pytest.mark.parametrize("kind", ["autoencoder", "vae", "conditional"])
def test_autoencoders(export: Callable[..., Run], kind: str, method: str) -> None:
    options: dict[str, Any] = {"channels": 2, "width": 4}
    classes = 10 if kind == "conditional" else 0
    model = vae.Autoencoder(8, **options) if kind == "autoencoder" else vae.VAE(8, num_classes=classes, **options)

    def inputs(n: int) -> tuple[Tensor, ...]:
        x = torch.randn(n, 8) if method == "decode" else torch.rand(n, 1, 28, 28)
        return (x, labels(n)) if classes else (x,)

    shapes = (({0: BATCH},) * (2 if classes else 1),)  # one entry for *inputs
    agree(export, Method(model, method), shapes, inputs(3), inputs(1), inputs(12))


@EXPORTERS
@pytest.mark.parametrize("dueling", [False, True])
def test_q_networks(export: Callable[..., Run], dueling: bool) -> None:
    dense = dqn.DenseQNetwork((4,), 2, width=8, dueling=dueling)
    agree(export, dense, ({0: BATCH},), *((torch.randn(n, 4),) for n in (3, 1, 7)))
    pictures = dqn.ConvQNetwork((4, 10, 10), 3, hidden=8, dueling=dueling)
    agree(export, pictures, ({0: BATCH},), *((torch.rand(n, 4, 10, 10) > 0.5,) for n in (3, 1, 7)))
    frames = dqn.ConvQNetwork((4, 84, 84), 3, layers=dqn.ATARI_LAYERS, hidden=8, dueling=dueling)
    byte_frames = [torch.randint(256, (n, 4, 84, 84), dtype=torch.uint8) for n in (3, 1, 7)]
    agree(export, frames, ({0: BATCH},), *((frame,) for frame in byte_frames))


@EXPORTERS
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_models(export: Callable[..., Run], layers: int) -> None:
    """PyTorch exports an LSTM for a length that is fixed: one token, and the state carried, reads any text."""
    model = recurrent.RecurrentLanguageModel(VOCABULARY, width=8, layers=layers, dropout=0.5)

    def inputs(n: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return torch.randint(VOCABULARY, (n, 1)), (torch.randn(layers, n, 8), torch.randn(layers, n, 8))

    agree(export, model, ({0: BATCH}, ({1: BATCH}, {1: BATCH})), inputs(3), inputs(1), inputs(7))


def gpts() -> dict[str, dict[str, Any]]:
    """The defaults, GPT-2's choices, and each default changed by itself."""
    flipped: dict[str, Any] = {name: choices[1] for name, choices in gpt.CHOICES.items()}
    flipped |= {"normalise_queries": False, "bias": True, "tied": False, "dropout": 0.5}
    return {"defaults": {}, "gpt2": gpt.GPT2, **{name: {name: value} for name, value in flipped.items()}}


@EXPORTERS
@pytest.mark.parametrize("options", [*gpts().values(), None], ids=[*gpts(), "adapters"])
def test_gpts(export: Callable[..., Run], options: dict[str, Any] | None) -> None:
    model = gpt.GPT(gpt.GPTConfig(VOCABULARY, CONTEXT, layers=2, heads=2, width=8, **(options or {})))
    if options is None:
        lora.add_adapters(model, 2)
    texts = [torch.randint(VOCABULARY, shape) for shape in [(3, 5), (1, 1), (4, CONTEXT), (1, 7)]]
    agree(export, model, ({0: BATCH, 1: TIME},), *((text,) for text in texts))


def test_an_exported_gpt_keeps_its_context() -> None:
    model = gpt.GPT(gpt.GPTConfig(VOCABULARY, CONTEXT, width=8)).eval()
    run = exported(model, (torch.zeros(3, 5).long(),), ({0: BATCH, 1: TIME},))
    with pytest.raises(Exception, match="16"):
        run(torch.zeros(1, CONTEXT + 1).long())
