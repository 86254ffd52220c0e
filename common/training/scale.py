"""How a run uses its machines, whatever it computes: the flags of docs/scale.md."""

import argparse
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Scale:
    """The fields are flags that all training scripts share; their texts are in `common.training.flags`."""

    log_every: int | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Scale":
        """What the command line says."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})
