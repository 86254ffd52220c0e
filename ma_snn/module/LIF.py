"""The LIF and LIAF neurons of the paper, see `common.neurons.liaf`; they take all steps at once."""

from common.neurons import LIAFNode, ThresholdResetLIFNode

__all__ = ["LIAFNode", "ThresholdResetLIFNode"]
