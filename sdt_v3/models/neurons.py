"""The integer neurons of spike firing approximation: y = round(clamp(x, 0, D)) / norm.

Yao, Qiu, Hu et al.: "Scaling Spike-Driven Transformer With Efficient Spike Firing Approximation Training", IEEE TPAMI
47(4), 2025, doi 10.1109/TPAMI.2025.3530246. The integer n stands for n binary spikes in D virtual time steps.

| family | neuron          | ties k + 0.5   | gradient where | divided by  |
|--------|-----------------|----------------|----------------|-------------|
| base   | `closed_neuron` | to the even    | 0 <= x <= D    | D           |
| DVS    | `closed_neuron` | to the even    | 0 <= x <= D    | `D_Norm`    |
| large  | `open_neuron`   | up             | 0 < x < D      | D           |

Ties are not rare: attention outputs are multiples of a power of two, so the difference shows. The DVS family's neuron
could integrate over time, but its networks call it once on all frames: T frames are T independent images. The neuron
before a classification head divides by 1 in all three.
"""

from common.neurons import IntegerLIF


def closed_neuron(max_value: int = 4, norm: float | None = None) -> IntegerLIF:
    """The neuron of the base and DVS networks; `norm` None is `max_value`."""
    return IntegerLIF(max_value, norm)


def open_neuron(max_value: int = 4, norm: float | None = None) -> IntegerLIF:
    """The neuron of the large networks and the masked autoencoder; `norm` None is `max_value`."""
    return IntegerLIF(max_value, norm, rounding="half_up", open_window=True)
