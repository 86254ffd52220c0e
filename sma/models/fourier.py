"""Convolution in the Fourier domain: what makes the large kernels of SMA affordable on a CPU.

y[p] = sum_d w[d] x[p + d]   becomes   Y[f] = X[f] conj(W[f]),

whose cost per pixel hardly depends on the k^2 taps of w. Images are cut into tiles that overlap by k - 1 pixels, so the
circular products of the transform are those of the convolution (overlap-save). Equal to `nn.Conv2d` up to rounding.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

LARGEST_STEP = 32  # pixels: larger tiles have more frequencies than they save products
SPECTRUM_LIMIT = 128 << 20  # bytes of a kept spectrum

# Costs in products of the direct convolution, measured on an AVX-512 processor, true within a factor of 1.5.
COMPLEX_PRODUCT, WEIGHT_FREQUENCY, TILE_PIXEL, HALF_PRODUCT = 9, 400, 240, 0.5


class Tiling(NamedTuple):
    """Tiles along one axis: how many, the pixels of the result that each gives, and those it is transformed from."""

    count: int
    step: int
    size: int


def tiling(length: int, k: int) -> Tiling:
    """The fewest equal tiles of at most `LARGEST_STEP` pixels, of a size that transforms fast."""
    from scipy.fft import next_fast_len

    count = math.ceil(length / LARGEST_STEP)
    size = next_fast_len(math.ceil(length / count) + k - 1, real=True)
    return Tiling(count, size - k + 1, size)


class FourierConv2d(nn.Conv2d):
    """`nn.Conv2d` with an odd square kernel and an output of the input's size, by Fourier transform where that pays.

    It pays on a CPU, for large kernels, many channels and batches; under torch.compile and torch.export the convolution
    stays a convolution. Under autocast it is computed in float32 and rounded once. `fourier=False` keeps it direct.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, fourier: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.fourier = fourier
        self.spectra: dict[tuple, Tensor] | None = None

    def freeze(self) -> None:
        """Keep the spectrum of the weight, which must not change any more; `fold_for_inference` calls this."""
        self.spectra = {}

    def forward(self, x: Tensor) -> Tensor:
        if not self.fourier or torch.compiler.is_compiling() or not self._pays(x):
            return super().forward(x)
        y = correlation(x, self.weight, self._spectrum(x))
        if torch.is_autocast_enabled("cpu"):
            y = y.to(torch.get_autocast_dtype("cpu"))
        return y + self.bias[:, None, None].to(y.dtype)

    def _tilings(self, x: Tensor) -> tuple[Tiling, Tiling]:
        return tiling(x.shape[-2], self.kernel_size[0]), tiling(x.shape[-1], self.kernel_size[0])

    def _kept(self, rows: Tiling, columns: Tiling) -> bool:
        complex_numbers = frequencies(rows, columns) * self.weight[..., 0, 0].numel()
        return self.spectra is not None and 2 * complex_numbers * self.weight.element_size() <= SPECTRUM_LIMIT

    def _pays(self, x: Tensor) -> bool:
        if x.device.type != "cpu" or not x.numel():
            return False
        rows, columns = self._tilings(x)
        pairs, (N, _, H, W) = self.weight[..., 0, 0].numel(), x.shape
        tiles = N * rows.count * columns.count
        direct = pairs * self.kernel_size[0] ** 2 * N * H * W
        weight = 0 if self._kept(rows, columns) else WEIGHT_FREQUENCY
        products = frequencies(rows, columns) * pairs * (COMPLEX_PRODUCT * tiles + weight)
        transforms = TILE_PIXEL * (self.in_channels + self.out_channels) * tiles * rows.size * columns.size
        return products + transforms < direct * (HALF_PRODUCT if torch.is_autocast_enabled("cpu") else 1)

    def _spectrum(self, x: Tensor) -> Tensor | None:
        tilings = self._tilings(x)
        if not self._kept(*tilings):
            return None
        if tilings not in self.spectra:
            with torch.autocast("cpu", enabled=False):
                self.spectra[tilings] = weight_spectrum(self.weight.detach(), *tilings)
        return self.spectra[tilings]


def frequencies(rows: Tiling, columns: Tiling) -> int:
    """How many frequencies determine the transform of a real tile."""
    return rows.size * (columns.size // 2 + 1)


class _Correlation(torch.autograd.Function):
    """Keeps its input and its weight alone, as a convolution does, and transforms them again in the backward pass."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x: Tensor, weight: Tensor, spectrum: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _correlate(x, weight, spectrum)

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cpu")
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        gx = _correlate(gradient, weight.flip(-2, -1).transpose(0, 1)) if ctx.needs_input_grad[0] else None
        gw = _weight_gradient(x, gradient, weight.shape[-1]) if ctx.needs_input_grad[1] else None
        return gx, gw, None


def correlation(x: Tensor, weight: Tensor, spectrum: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, padding="same")` of `[N, C, H, W]` and `[C', C, k, k]` with odd k; one gradient, no second.

    `spectrum` is that of the weight, if it is there already.
    """
    return _Correlation.apply(x, weight, spectrum)


def _correlate(x: Tensor, weight: Tensor, spectrum: Tensor | None = None) -> Tensor:
    rows, columns = (tiling(length, weight.shape[-1]) for length in x.shape[-2:])
    if spectrum is None:
        spectrum = weight_spectrum(weight, rows, columns)
    product = torch.bmm(_tile_spectra(x, weight.shape[-1], rows, columns), spectrum)
    tiles = product.view(rows.size, -1, len(x), rows.count, columns.count, len(weight)).permute(2, 5, 3, 4, 0, 1)
    pixels = torch.fft.irfft2(tiles, s=(rows.size, columns.size))[..., : rows.step, : columns.step]
    image = pixels.transpose(3, 4).reshape(len(x), len(weight), rows.count * rows.step, columns.count * columns.step)
    return image[..., : x.shape[-2], : x.shape[-1]]


def _tile_spectra(x: Tensor, k: int, rows: Tiling, columns: Tiling) -> Tensor:
    """Transforms of the overlapping tiles of `x` `[N, C, H, W]`: `[frequencies, N * tiles, C]`."""
    (height, width), edge = x.shape[-2:], k // 2
    right = columns.count * columns.step + k - 1 - edge - width
    below = rows.count * rows.step + k - 1 - edge - height
    padded = F.pad(x, (edge, right, edge, below))
    tiles = padded.unfold(2, rows.size, rows.step).unfold(3, columns.size, columns.step)
    return _by_frequency(torch.fft.rfft2(tiles))


def _by_frequency(spectra: Tensor) -> Tensor:
    """`[N, C, rows, columns, ...frequencies]` as `[frequencies, N * rows * columns, C]`."""
    return spectra.permute(4, 5, 0, 2, 3, 1).flatten(2, 4).flatten(0, 1)


def weight_spectrum(weight: Tensor, rows: Tiling, columns: Tiling) -> Tensor:
    """Conjugate transform of `[C', C, k, k]`: `[frequencies, C, C']`; by matrix products, for k is small."""
    cosine, sine = _waves(weight.shape[-1], rows, columns, weight.dtype)
    taps = weight.permute(2, 3, 1, 0).flatten(0, 1).flatten(1)
    return torch.complex(cosine @ taps, sine @ taps).unflatten(1, (weight.shape[1], weight.shape[0]))


def _weight_gradient(x: Tensor, gradient: Tensor, k: int) -> Tensor:
    """sum_p g[p] x[p + d]: the inverse transform of conj(G) X at the k^2 taps d."""
    rows, columns = (tiling(length, k) for length in x.shape[-2:])
    below, right = (t.count * t.step - length for t, length in zip((rows, columns), x.shape[-2:], strict=True))
    padded = F.pad(gradient, (0, right, 0, below))
    tiles = padded.unflatten(3, (columns.count, columns.step)).unflatten(2, (rows.count, rows.step)).transpose(3, 4)
    spectra = _by_frequency(torch.fft.rfft2(tiles, s=(rows.size, columns.size)))
    product = torch.bmm(_tile_spectra(x, k, rows, columns).transpose(1, 2), spectra.conj())
    real, imaginary = torch.view_as_real(product.flatten(1)).unbind(-1)
    cosine, sine = (wave.T for wave in _waves(k, rows, columns, x.dtype, inverse=True))
    taps = cosine @ real - sine @ imaginary
    return taps.unflatten(1, product.shape[1:]).unflatten(0, (k, k)).permute(3, 2, 0, 1)


def _waves(
    k: int, rows: Tiling, columns: Tiling, dtype: torch.dtype, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Cos and sin of 2 pi f d at each frequency f and tap d: `[frequencies, k * k]`.

    With `inverse` weighted for the inverse transform, in which half of the frequencies stand for their mirror images.
    """
    taps = torch.arange(k, dtype=torch.float64)
    down = torch.arange(rows.size)[:, None] * taps / rows.size
    right = torch.arange(columns.size // 2 + 1)[:, None] * taps / columns.size
    phase = (2 * math.pi * (down[:, None, :, None] + right[None, :, None, :])).flatten(2).flatten(0, 1)
    if not inverse:
        return phase.cos().to(dtype), phase.sin().to(dtype)
    twice = torch.full((columns.size // 2 + 1,), 2.0, dtype=torch.float64)
    twice[0] = 1
    if columns.size % 2 == 0:
        twice[-1] = 1
    share = (twice.repeat(rows.size) / (rows.size * columns.size))[:, None]
    return (share * phase.cos()).to(dtype), (share * phase.sin()).to(dtype)
