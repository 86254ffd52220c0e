"""Integer neurons of spike firing approximation (SDT V3, TPAMI 2025): 0..D in training, D binary spikes on a chip."""

from typing import Literal

from torch import Tensor, nn

from common.kernels import IntegerParameters, integer_if


class IntegerLIF(nn.Module):
    """round(clamp(x, 0, max_value)) / norm, with a straight-through gradient inside the clamp window.

    The three flavours of the paper's code differ where a value lies exactly between two integers or on the window edge:

    | flavour | rounding  | window | norm                             |
    |---------|-----------|--------|----------------------------------|
    | base    | half_even | closed | max_value; 1 at the head         |
    | large   | half_up   | open   | max_value; 1 at the head         |
    | DVS     | half_even | closed | `D_Norm` 1, 4, 8; 1 at the head  |

    `time_dim` integrates along that axis with a soft reset; the networks here, DVS included, leave it out.
    """

    def __init__(
        self,
        max_value: int = 4,
        norm: float | None = None,
        *,
        rounding: Literal["half_even", "half_up"] = "half_even",
        open_window: bool = False,
        time_dim: int | None = None,
    ):
        super().__init__()
        self.constants = IntegerParameters(max_value, norm or max_value, rounding, open_window)
        self.time_dim = time_dim

    def forward(self, x: Tensor) -> Tensor:
        return integer_if(x, self.constants, self.time_dim)

    def extra_repr(self) -> str:
        p = self.constants
        window = "open" if p.open_window else "closed"
        time = "" if self.time_dim is None else f", time_dim={self.time_dim}"
        return f"max_value={p.max_value}, norm={p.norm:g}, rounding={p.rounding}, {window} window{time}"
