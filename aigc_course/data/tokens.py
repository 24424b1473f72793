"""Tokens: texts as whole numbers, by characters or by byte-pair encoding, cut into windows for training."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aigc_course.checks import check_count, check_tokens
from aigc_course.data.text import load_splits


@runtime_checkable
class Tokenizer(Protocol):
    """What turns a text into tokens 0 … `vocab_size` - 1 and back."""

    @property
    def vocab_size(self) -> int:
        """The number of different tokens."""

    def encode(self, text: str) -> Int[Tensor, " time"]:
        """Return the text's tokens."""

    def decode(self, tokens: Int[Tensor, " time"]) -> str:
        """Return the text that the tokens stand for."""


class CharTokenizer:
    """One token per character; the vocabulary is the set of the characters of `text`, sorted.

    Raises `ValueError` for an empty text.
    """

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("text is empty; give one that holds every character of the vocabulary.")
        self.characters = "".join(sorted(set(text)))
        # The number of each character, at the place of its code point.
        self._numbers = np.zeros(ord(self.characters[-1]) + 1, dtype=np.int64)
        self._numbers[_code_points(self.characters)] = np.arange(len(self.characters))

    @property
    def vocab_size(self) -> int:
        """The number of different characters."""
        return len(self.characters)

    def encode(self, text: str) -> Int[Tensor, " time"]:
        """Return one token per character. Raises `ValueError` for a character outside the vocabulary."""
        if unknown := sorted(set(text) - set(self.characters)):
            raise ValueError(
                f"the text has characters outside the vocabulary of {self.vocab_size}: "
                f"{', '.join(map(repr, unknown[:8]))}{' …' if len(unknown) > 8 else ''}. "
                "Leave them out, or build the tokenizer from a text that has them."
            )
        return torch.from_numpy(self._numbers[_code_points(text)])

    def decode(self, tokens: Int[Tensor, " time"]) -> str:
        """Return the characters. Raises `ValueError` for a token outside the vocabulary."""
        _check_row(tokens, self.vocab_size)
        return "".join(self.characters[number] for number in tokens.tolist())


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


class BytePairTokenizer:
    """Byte-pair encoding: 256 bytes, and the pairs of tokens that were most frequent in `text`, merged one by one.

    A text is first cut into words, numbers, runs of punctuation and runs of white space; no pair crosses such a border.
    Every text can be encoded, since every text is bytes. The work is done by the library `tokenizers`.

    Sources: Sennrich et al. (2016), https://arxiv.org/abs/1508.07909; on bytes, as in GPT-2.

    **Arguments:** `vocab_size`: at least 256. A short text may not have pairs enough to reach it.

    Raises `ValueError` for an empty text or a smaller vocabulary.
    """

    def __init__(self, text: str, vocab_size: int) -> None:
        if not text:
            raise ValueError("text is empty; give one to count pairs in.")
        check_count("vocab_size", vocab_size, least=256)
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        self._library = Tokenizer(models.BPE())
        self._library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._library.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
        self._library.train_from_iterator(_pieces(text), trainer)

    @property
    def vocab_size(self) -> int:
        """The number of different tokens."""
        return self._library.get_vocab_size()

    def encode(self, text: str) -> Int[Tensor, " time"]:
        """Return the text's tokens."""
        # As a batch of one, since only so does the library leave out where in the text each token came from.
        rows = [np.array(self._library.encode_batch_fast([piece])[0].ids, np.int64) for piece in _pieces(text)]
        return torch.from_numpy(np.concatenate(rows)) if rows else torch.zeros(0, dtype=torch.long)

    def decode(self, tokens: Int[Tensor, " time"]) -> str:
        """Return the text. Bytes that make no character become �. Raises `ValueError` for a token out of range."""
        _check_row(tokens, self.vocab_size)
        return self._library.decode(tokens.tolist())

    def decode_bytes(self, tokens: Int[Tensor, " time"]) -> bytes:
        """Return the text's bytes in UTF-8, which may begin or end in the middle of a character.

        Raises `ValueError` for a token out of range.
        """
        _check_row(tokens, self.vocab_size)
        spelling = "".join(str(self._library.id_to_token(token)) for token in tokens.tolist())
        return bytes(_BYTE_OF[character] for character in spelling)


def _visible_bytes() -> dict[str, int]:
    """The byte that each character of the library's alphabet stands for: as in GPT-2, one that can be printed."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _visible_bytes()
_PIECE, _LONGEST = 16_000, 2_000  # characters
_BORDER = re.compile(r"(?<=\S)(?=[ \n])")


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of about `_PIECE` characters, which keep the tokens that it has as a whole.

    The library takes hundreds of bytes of memory for each byte of what it is given at once. A piece ends before a space
    or line feed that follows something else: a word always ends there, whatever comes before and after. Only words of
    more than `_LONGEST` characters, such as the letters of a genome, are cut: the library's time grows with the square
    of a word's length.
    """
    start = 0
    while start < len(text):
        end = min(start + 2 * _LONGEST, len(text))
        for least in (_PIECE, _LONGEST):
            if border := _BORDER.search(text, start + least, start + least + _LONGEST):
                end = border.start()
                break
        yield text[start:end]
        start = end


def _check_row(tokens: Tensor, vocab_size: int) -> None:
    if tokens.ndim != 1:
        raise ValueError(f"tokens has the shape {tuple(tokens.shape)}; it takes a row.")
    check_tokens(tokens, vocab_size)


def read_tokens(
    name: str | Path, tokenizer: Tokenizer | int | None, *, encoding: str = "utf-8"
) -> tuple[Tokenizer, dict[str, Tensor]]:
    """Return the tokenizer, and a text's tokens, a row for each split.

    **Arguments:** `name`, `encoding`: see `load_text`; `tokenizer`: the one to use; or the size of a byte-pair
    vocabulary to learn from the training split; or `None` for characters, those of all three splits.

    Raises `ValueError` for another kind of tokenizer, and as `load_text` and the tokenizers do.
    """
    texts = load_splits(name, encoding=encoding)
    if tokenizer is None:
        tokenizer = CharTokenizer("".join(texts.values()))
    elif isinstance(tokenizer, int | np.integer):
        tokenizer = BytePairTokenizer(texts["train"], int(tokenizer))
    elif not isinstance(tokenizer, Tokenizer):
        raise ValueError(
            f"tokenizer is {tokenizer!r}; it takes a tokenizer, such as CharTokenizer(text), the size of a byte-pair "
            "vocabulary, or None for characters."
        )
    return tokenizer, {split: tokenizer.encode(text) for split, text in texts.items()}


class _Windows(Dataset[tuple[Tensor, Tensor]]):
    """Windows of a row of tokens, each with its copy shifted by one: what is known and what comes next."""

    def __init__(self, tokens: Tensor, context: int, *, jitter: bool) -> None:
        self.tokens, self.context, self.jitter = tokens, context, jitter

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.context

    def __getitems__(self, numbers: list[int]) -> tuple[Tensor, Tensor]:
        starts = torch.tensor(numbers) * self.context
        if self.jitter:  # a token shall not meet the same place of the context at every epoch
            last = len(self.tokens) - self.context - 1
            starts = (starts + torch.randint(self.context, starts.shape)).clamp(max=last)
        windows = self.tokens[starts[:, None] + torch.arange(self.context + 1)]
        return windows[:, :-1], windows[:, 1:]


def _as_is(batch: Any) -> Any:
    return batch


class TextData(pl.LightningDataModule):
    """Batches `(x, y)` of windows of a text, both (batch, context); `y` is `x` moved on by one token.

    A pass through the training data has as many windows as fit side by side, in random order, each moved on by a random
    number of tokens below `context`. Validation windows stand side by side, in order.

    **Arguments:**

    - `name`, `encoding`: see `load_text`.
    - `context`: tokens a window.
    - `batch_size`: windows a batch.
    - `tokenizer`: the tokenizer to use; or the size of a byte-pair vocabulary to learn from the training split; or
      `None` for characters, those of all three splits.
    - `limit`: use only so many of the first training tokens; `None` means all.

    Once made, it has the attributes `tokenizer` and `tokens`, a dictionary with a row of tokens for each split.

    Raises `ValueError` for numbers that are not whole or below 1, for a split that is shorter than a window, and as
    `read_tokens` does.
    """

    def __init__(
        self,
        name: str | Path = "python_docs",
        *,
        context: int,
        batch_size: int,
        tokenizer: Tokenizer | int | None = None,
        limit: int | None = None,
        encoding: str = "utf-8",
    ) -> None:
        super().__init__()
        check_count("context", context)
        check_count("batch_size", batch_size)
        if limit is not None:
            check_count("limit", limit)
        self.context, self.batch_size = context, batch_size
        self.tokenizer, self.tokens = read_tokens(name, tokenizer, encoding=encoding)
        if limit is not None:
            self.tokens["train"] = self.tokens["train"][:limit]
        for split in ("train", "validation"):
            if len(self.tokens[split]) <= context:
                raise ValueError(
                    f"the {split} split has {len(self.tokens[split])} tokens; a window of context {context} and the "
                    f"token after it do not fit: they take {context + 1}. Take a smaller context or a longer text."
                )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Windows in random order; the last batch of a pass is left out if it is not full and there are others."""
        windows = _Windows(self.tokens["train"], self.context, jitter=True)
        full = len(windows) >= self.batch_size
        return DataLoader(windows, self.batch_size, shuffle=True, collate_fn=_as_is, drop_last=full)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Windows side by side, in order."""
        return DataLoader(
            _Windows(self.tokens["validation"], self.context, jitter=False), self.batch_size, collate_fn=_as_is
        )
