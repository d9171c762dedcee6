"""Backbones: feature extractors without a classification head, which masks never touch.

Every backbone is an ``nn.Module`` with an int attribute ``feature_dim`` and
``forward(x: float32 (n, channels, height, width)) -> float32 (n, feature_dim)``. Importing it imports no torch.
"""

from benchmark.backbones.builder import build, known_backbones, smallest_image

__all__ = ["build", "known_backbones", "smallest_image"]
