"""Attention Spiking Neural Networks (TPAMI 2023); importing it registers the models with timm."""

from ma_snn import models

DATA_SETS = ("ma_snn.data.dvs_gesture_hdf5:CARD", "ma_snn.data.cifar10_dvs_mat:CARD")

__all__ = ["models"]
