"""Losses of network outputs that may keep a time axis: `[T, B, K]`, or any place that `time_dim` names."""

import torch.nn.functional as F
from torch import Tensor


def mse_one_hot(outputs: Tensor, labels: Tensor, time_dim: int | None = 0) -> Tensor:
    """Squared error of the time mean against the one-hot label: mean over b, k of (mean_t z[t,b,k] - 1[k = y_b])^2.

    `outputs`: `[T, B, K]`, or `[B, K]` with `time_dim=None`; `labels`: `[B]`.
    """
    logits = outputs if time_dim is None else outputs.mean(dim=time_dim)
    return F.mse_loss(logits, F.one_hot(labels, logits.shape[-1]).to(logits.dtype))


def tet_cross_entropy(outputs: Tensor, labels: Tensor, time_dim: int = 0) -> Tensor:
    """Temporal efficient training without its regulariser: mean over t of CE(z[t], y) (Deng et al., ICLR 2022)."""
    outputs = outputs.movedim(time_dim, 0)
    return F.cross_entropy(outputs.flatten(0, 1), labels.repeat(outputs.shape[0]))


def smooth_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross entropy of logits `[B, K]` against (1 - smoothing) 1[k = y] + smoothing / K."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def tet_loss(outputs: Tensor, labels: Tensor, means: float = 1.0, lamb: float = 1e-3, time_dim: int = 0) -> Tensor:
    """Temporal efficient training: (1 - lamb) mean_t CE(z[t], y) + lamb mean (z - means)^2 (Deng et al., ICLR 2022)."""
    return (1 - lamb) * tet_cross_entropy(outputs, labels, time_dim) + lamb * (outputs - means).square().mean()
