"""How a run uses its machines and who is told, whatever it computes: the flags of docs/scale.md."""

import argparse
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from common.errors import UserError
from common.layers import channels_last
from common.training.launch import Process
from common.training.state import TrainingState
from common.training.step import Recipe

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Scale:
    """The fields are flags that all training scripts share; their texts are in `common.training.flags`."""

    log_every: int | None = None
    amp_dtype: str | None = None
    compile: bool = False
    channels_last: bool = False
    static_graph: bool = False
    grad_checkpointing: bool = False
    fsdp: bool = False
    tracker: str | None = None
    keep_checkpoints: int = 0
    async_checkpoints: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Scale":
        """What the command line says."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    def half(self, process: Process) -> torch.dtype:
        """The 16-bit numbers of mixed precision."""
        return HALVES[self.amp_dtype or ("fp16" if process.device.type == "cuda" else "bf16")]

    def prepare(self, model: nn.Module, recipe: Recipe, average: AveragedModel | None, process: Process) -> None:
        """Set up the bare network for training.

        Raises:
            UserError: a flag that means nothing here.
        """
        if self.amp_dtype is not None and not recipe.amp:
            raise UserError(f"--amp-dtype {self.amp_dtype}: this run has no mixed precision; add --amp")
        if self.static_graph and recipe.accumulate > 1:
            raise UserError("--static-graph needs gradients of all processes in the first batch: do not accumulate")
        if self.fsdp:
            self._check_sharding(recipe, average, process)
        if self.channels_last:
            channels_last(model)
        if not self.grad_checkpointing:
            return
        if not hasattr(model, "set_grad_checkpointing"):
            raise UserError(f"--grad-checkpointing: {type(model).__name__} cannot compute blocks again; leave it out")
        model.set_grad_checkpointing()

    def interval(self, checkpoint_every: int | None, recipe: Recipe) -> int | None:
        """Batches between checkpoints within an epoch: half, where the last one may be unwritten until the next.

        Raises:
            UserError: there is no half.
        """
        if not self.async_checkpoints:
            return checkpoint_every
        least = 2 * recipe.accumulate
        if checkpoint_every is None or checkpoint_every < least:
            raise UserError(f"--async-checkpoints is for those within an epoch: add --checkpoint-every {least} or more")
        return checkpoint_every // 2

    def _check_sharding(self, recipe: Recipe, average: AveragedModel | None, process: Process) -> None:
        """Refuse `--fsdp` where something needs the whole network in the middle of an epoch."""
        if process.world_size == 1:
            raise UserError("--fsdp shares the network among processes, and here is one: start several by torchrun")
        if self.compile or self.static_graph or self.channels_last:
            raise UserError("--fsdp does not go with --compile, --static-graph or --channels-last; leave them out")
        if recipe.after_step is not None or type(average) not in (AveragedModel, type(None)):
            raise UserError("--fsdp: this script needs the whole network within an epoch; leave it out")

    def distribute(
        self, state: TrainingState, process: Process, *, sync_bn: bool, find_unused_parameters: bool
    ) -> nn.Module:
        """What to train: the model with the gradients, and with `sync_bn` the batch statistics, of all processes.

        The weights keep their names in `state.model`, which a compiled or wrapped network would change.
        """
        on_cuda, network = process.device.type == "cuda", state.model
        if process.world_size > 1:
            if sync_bn and on_cuda:
                network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            elif sync_bn and process.is_main:
                print("note: torch synchronises batch norm on CUDA only; here each process normalises its own batch")
            if self.fsdp:
                from common.training.sharding import Sharded  # slow to import

                state.sharded = Sharded(network, state.optimizer, state.ema, process)
                return state.sharded.network
            network = DistributedDataParallel(
                network,
                device_ids=[process.device.index] if on_cuda else None,
                find_unused_parameters=find_unused_parameters and not self.static_graph,
                static_graph=self.static_graph,
            )
        return torch.compile(network) if self.compile else network


def fused(model: nn.Module) -> dict[str, bool]:
    """The argument of SGD, Adam and AdamW that makes one kernel of a step, which then waits for nothing either.

    On CUDA only: on the CPU it changes the last bits.
    """
    return {"fused": True} if next(model.parameters()).is_cuda else {}
