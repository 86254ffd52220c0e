"""How a neuron is computed: the PyTorch reference, compiled CPU and CUDA kernels, and the choice among them."""

from common.kernels.dispatch import integer_if, multi_step_lif, use, use_convolution
from common.kernels.memory import retain_memory
from common.kernels.parameters import IntegerParameters, LIFParameters
