"""What one input batch of a network is: its axes in order, and how long they are."""

from dataclasses import dataclass, replace

from einops import rearrange
from torch import Tensor

from common.errors import UserError


@dataclass(frozen=True)
class Layout:
    """A batch of images, or of frames."""

    axes: str
    """Such as "b c h w" (images), "t b c h w" (frames, time first) or "b t c w h" (frames, x before y)."""
    channels: int
    size: tuple[int, int]
    """(H, W): the published one where the network takes any."""
    T: int | None = None
    """Steps of frames: the published number where the network takes any; None without frames."""
    also: tuple[str, ...] = ()
    """Other orders of axes that the network takes."""

    @property
    def batch_axis(self) -> int:
        """The axis that counts the samples."""
        return self.axes.split().index("b")

    def at(self, side: int, T: int | None = None) -> "Layout":
        """The same axes, H = W = `side`, and other steps if given."""
        return replace(self, size=(side, side), T=T or self.T)

    def shape(self, samples: int = 1) -> tuple[int, ...]:
        """Shape of a batch."""
        lengths = {"b": samples, "t": self.T, "c": self.channels, "h": self.size[0], "w": self.size[1]}
        return tuple(lengths[axis] for axis in self.axes.split())

    def arranged(self, sample: Tensor, network: str) -> tuple[Tensor, bool]:
        """An image `[C, H, W]` or frames `[T, C, H, W]` as a batch of one, and whether x stands before y in it.

        Raises:
            UserError: an image for a network that takes frames, or frames for one that takes images.
        """
        orders = (self.axes, *self.also)
        axes = next((axes for axes in orders if len(axes.split()) == sample.ndim + 1), None)
        if axes is None:
            wanted = "frames [T, C, H, W]" if "t" in self.axes else "an image [C, H, W]"
            raise UserError(f"{network} takes {wanted}, but the sample is {list(sample.shape)}; give another one")
        given = "t c h w" if "t" in axes else "c h w"
        return rearrange(sample, f"{given} -> {axes.replace('b', '1')}"), axes.index("w") < axes.index("h")
