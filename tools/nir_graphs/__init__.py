"""Networks of convolutions and LIF neurons as graphs of NIR, the Neuromorphic Intermediate Representation, and back.

Pedersen et al.: "Neuromorphic intermediate representation: A unified instruction set for interoperable brain-inspired
computing", Nature Communications 15, 2024, https://neuroir.org. Needs the extra `nir`.

A graph computes one time step: who runs it feeds it frame after frame, or the same image at each step. Batch norms are
folded into the layers before them. NIR's neuron is an equation in continuous time,

    tau dv/dt = (v_leak - v) + r x,   fires where v > v_threshold,   v = v_reset where it fired

of which one step of forward Euler of length dt = 1, v_leak = 0, is our charge in other words:

| neuron here                                  | tau             | r               | v_reset     |
|----------------------------------------------|-----------------|-----------------|-------------|
| charge "leaky", h = v + (x - v) / tau        | tau             | 1               | 0           |
| charge "decay", h = decay v + x              | 1 / (1 - decay) | 1 / (1 - decay) | 0           |
| the same with reset "threshold" (MA-SNN)     | 1 / (1 - decay) | 1 / (1 - decay) | v_threshold |

A neuron that fires at h >= threshold, and not only above it, gets the next smaller float32 as its `v_threshold`, so
that NIR's > is right for it too. The metadata of a neuron say so ("fires") and hold dt, those of the graph hold the
discretisation and whether the network averages its output over time ("readout"), which NIR leaves to the reader. A sum
of two layers is a Scale by 1, max-pooling of spikes is a SumPool2d and a Threshold of 1/2.
"""

from tools.nir_graphs.reading import load_nir
from tools.nir_graphs.writing import save_nir, to_nir
