"""The authors' names of the networks, in the spelling of their code and of their instructions."""

from functools import wraps
from types import ModuleType

from common.registry import register
from sdt_v3.models import base, dvs, large, mae

ALIASES = {
    "Efficient_Spiking_Transformer_t": base.sdt_v3_tiny,
    "Efficient_Spiking_Transformer_s": base.sdt_v3_5m,
    "Efficient_Spiking_Transformer_m": base.sdt_v3_10m,
    "Efficient_Spiking_Transformer_l": base.sdt_v3_19m,
    "spikformer12_512": large.sdt_v3_83m,
    "spikformer_12_512": large.sdt_v3_83m,
    "spikformer12_768": large.sdt_v3_173m,
    "spikformer_12_768": large.sdt_v3_173m,
    "spikmae_12_512": mae.sdt_v3_mae_83m,
    "spikmae12_512": mae.sdt_v3_mae_83m,
    "spikmae_12_768": mae.sdt_v3_mae_173m,
    "spikmae12_768": mae.sdt_v3_mae_173m,
    "Efficient_Spiking_Transformer_scaling_8_19M": dvs.sdt_v3_hardvs,
    "Efficient_Spiking_Transformer_scaling_2_8M_gesture": dvs.sdt_v3_gesture,
    "Efficient_Spiking_Transformer_scaling_8_30M": dvs.sdt_v3_dvs_30m,
    "Efficient_Spiking_Transformer_scaling_8_50M": dvs.sdt_v3_dvs_50m,
}


def _register(name: str, factory) -> None:
    @wraps(factory)
    def alias(**kwargs):
        return factory(**kwargs)

    alias.__name__ = name
    register(alias)


for _name, _factory in ALIASES.items():
    _register(_name, _factory)


def names_of(family: ModuleType) -> list[str]:
    """Every name of the classifiers or autoencoders in a module of `sdt_v3.models`: ours, then the authors'."""
    factories = [factory for factory in ALIASES.values() if factory.__module__ == family.__name__]
    return [*dict.fromkeys(f.__name__ for f in factories), *(n for n, f in ALIASES.items() if f in factories)]
