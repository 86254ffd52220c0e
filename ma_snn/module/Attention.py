"""The attention of the paper, see `ma_snn.models.attention`."""

from ma_snn.models.attention import ATTENTIONS, Attention, ChannelAttention, SpatialAttention, TemporalAttention

__all__ = ["ATTENTIONS", "Attention", "ChannelAttention", "SpatialAttention", "TemporalAttention"]
