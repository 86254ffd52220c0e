"""What a neuron computes: surrogate gradients and stateless multi-step modules."""

from common.kernels.surrogate import ATan, Rectangle, Sigmoid, Surrogate, Triangle
from common.neurons.integer import IntegerLIF
from common.neurons.liaf import LIAFNode, ThresholdResetLIFNode
from common.neurons.lif import DecayLIFNode, LIFNode, MSLIFNode

NEURONS = (DecayLIFNode, IntegerLIF, LIFNode, ThresholdResetLIFNode)
"""Every neuron class, for hooks that look for spikes."""
