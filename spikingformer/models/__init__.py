"""Networks of the Spikingformer and CML papers; importing this registers them with timm."""

from spikingformer.models import cml_spikformer, spikingformer
