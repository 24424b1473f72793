"""The helper package of AIGC Course: one module a model family, each to be read from top to bottom."""

__version__ = "0.1.0"
