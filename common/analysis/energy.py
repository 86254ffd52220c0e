"""Energy of one inference from operation counts: E = e_MAC N_MAC + e_AC N_AC, 45 nm CMOS, 32 bit floating point.

The energies, 4.6 pJ per MAC and 0.9 pJ per AC, are those that the papers take from Horowitz (ISSCC 2014). What differs
is which kinds of layer count, and whether the authors' code or only their paper says so: the card of each paper tells.

Which layers are MAC needs no list: they are those whose measured input is not spikes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from common.analysis.operations import KINDS, LayerOperations


@dataclass(frozen=True)
class Formula:
    """Energies in pJ per operation and the kinds of layer that count; `source` is who says so, for people."""

    mac_pj: float = 4.6
    ac_pj: float = 0.9
    kinds: tuple[str, ...] = ("conv", "linear")
    source: str = ""

    def __str__(self):
        return f"E = {self.mac_pj:g} pJ * MAC + {self.ac_pj:g} pJ * AC over {', '.join(self.kinds)}"


EVERYTHING = Formula(
    kinds=(*KINDS, "attention"), source="no paper; BN, pools and neurons count as well: an upper bound"
)


@dataclass(frozen=True)
class Energy:
    """Operations of one inference and what they cost in mJ."""

    mac: float
    ac: float
    millijoules: float


def energy(layers: Iterable[LayerOperations], formula: Formula) -> Energy:
    """Energy of the layers that `formula` counts; a layer that ever saw spikes counts with its ACs alone."""
    counted = [layer for layer in layers if layer.kind in formula.kinds]
    mac = sum(layer.mac for layer in counted if layer.dense)
    ac = sum(layer.ac for layer in counted if not layer.dense)
    return Energy(mac, ac, (formula.mac_pj * mac + formula.ac_pj * ac) * 1e-9)


def with_heads(layers: Sequence[LayerOperations], heads: int) -> list[LayerOperations]:
    """The layers, their attention products counted as if divided into `heads` heads.

    Width per head and so the cost of q (k^T v) goes with 1/heads. The published 13.66 mJ of Spikingformer-8-768 counts
    12 heads although the trained network has 8.
    """
    factor = {layer.name: layer.heads / heads for layer in layers if layer.kind == "attention"}
    return [
        replace(layer, operations=layer.operations * by, ac=layer.ac * by, heads=heads)
        if (by := factor.get(layer.name))
        else layer
        for layer in layers
    ]
