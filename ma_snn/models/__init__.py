"""Networks of the MA-SNN paper; importing this registers them with timm."""

from ma_snn.models import att_ms_resnet, att_vgg, event_networks
