"""How a neuron is computed: the PyTorch reference and the choice among backends."""

from common.kernels.dispatch import integer_if, multi_step_lif, use
from common.kernels.parameters import IntegerParameters, LIFParameters

__all__ = ["IntegerParameters", "LIFParameters", "integer_if", "multi_step_lif", "use"]
