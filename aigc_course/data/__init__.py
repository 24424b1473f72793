"""Data: each set split once by a fixed seed; the defaults need no network."""

from aigc_course.data.images import ImageData, load_images, random_affine
from aigc_course.data.points import RingData, ring_centres, sample_ring

__all__ = ["ImageData", "RingData", "load_images", "random_affine", "ring_centres", "sample_ring"]
