"""Data: each set split once by a fixed seed; the defaults need no network."""

from aigc_course.data.images import ImageData, load_images, random_affine

__all__ = ["ImageData", "load_images", "random_affine"]
