"""Data: each set split once by a fixed seed; the defaults need no network."""

from aigc_course.data.images import ImageData, load_images, random_affine
from aigc_course.data.points import RingData, ring_centres, sample_ring
from aigc_course.data.text import load_text
from aigc_course.data.tokens import BytePairTokenizer, CharTokenizer, TextData, Tokenizer

__all__ = [
    "BytePairTokenizer",
    "CharTokenizer",
    "ImageData",
    "RingData",
    "TextData",
    "Tokenizer",
    "load_images",
    "load_text",
    "random_affine",
    "ring_centres",
    "sample_ring",
]
