"""Surrogate gradients: the derivative that stands in for that of the spike, ds/dz with z = h - threshold.

Each is a frozen dataclass, so it can be compared, hashed and passed to a compiled kernel by name and numbers.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ATan:
    """ds/dz = (alpha / 2) / (1 + (pi/2 * alpha * z)^2). SMA (AAAI 2025) uses alpha = 2."""

    alpha: float = 2.0

    def gradient(self, z: Tensor) -> Tensor:
        """Derivative at `z`, any shape."""
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * z).square())


@dataclass(frozen=True)
class Sigmoid:
    """ds/dz = alpha * sig(alpha z) * (1 - sig(alpha z)). Spikingformer (2023) uses alpha = 4."""

    alpha: float = 4.0

    def gradient(self, z: Tensor) -> Tensor:
        """Derivative at `z`, any shape."""
        sig = torch.sigmoid(self.alpha * z)
        return self.alpha * sig * (1 - sig)


@dataclass(frozen=True)
class Rectangle:
    """ds/dz = 1 / (2 w) where |z| < w (strictly), else 0. MS-ResNet: w = 0.5; MA-SNN: w = 0.25 or 0.5."""

    half_width: float = 0.5

    def gradient(self, z: Tensor) -> Tensor:
        """Derivative at `z`, any shape."""
        return (z.abs() < self.half_width).to(z.dtype) / (2 * self.half_width)


@dataclass(frozen=True)
class Triangle:
    """ds/dz = max(0, gamma - |z|) / gamma^2. GAC's CIFAR networks (AAAI 2024) use gamma = 1."""

    gamma: float = 1.0

    def gradient(self, z: Tensor) -> Tensor:
        """Derivative at `z`, any shape."""
        return (self.gamma - z.abs()).clamp(min=0) / self.gamma**2


Surrogate = ATan | Sigmoid | Rectangle | Triangle
