"""How a run uses its machines, whatever it computes: the flags of docs/scale.md."""

import argparse
from dataclasses import dataclass, fields

from torch import nn

from common.errors import UserError


@dataclass(frozen=True)
class Scale:
    """The fields are flags that all training scripts share; their texts are in `common.training.flags`."""

    log_every: int | None = None
    grad_checkpointing: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Scale":
        """What the command line says."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def prepare(self, model: nn.Module) -> None:
        """Set up the bare network for training.

        Raises:
            UserError: it has no blocks that could be computed again.
        """
        if not self.grad_checkpointing:
            return
        if not hasattr(model, "set_grad_checkpointing"):
            raise UserError(f"--grad-checkpointing: {type(model).__name__} cannot compute blocks again; leave it out")
        model.set_grad_checkpointing()
