"""Training by FSDP2: every process holds a part of the weights, of their gradients and of the optimizer's state.

What is trained is a sharded copy of the network, block by block. The network itself, which scripts, evaluation and
result files know, gets the weights at the end of each epoch. Checkpoints are written by `torch.distributed.checkpoint`,
each process its part, as safetensors and not as pickles.
"""

import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from common.errors import UserError, reason_of
from common.recompute import Blocks
from common.training.launch import Process

PARTS = ("model", "ema")
"""Of a checkpoint, beside the optimizer, whose tensors lie in the folder."""


class Sharded:
    """The sharded copies of a network and of its average, and the optimizer, from now on that of the copy."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, average: AveragedModel | None, process: Process):
        for tensor in model.state_dict().values():  # all begin at the weights of the main process
            dist.broadcast(tensor, src=0)
        self.model, self.optimizer, self.whole_average = model, optimizer, average
        mesh = init_device_mesh(process.device.type, (process.world_size,))
        self.network, self.average = shard(deepcopy(model), mesh), deepcopy(average)
        if average is not None:
            self.average.module = shard(self.average.module, mesh)
        _move(optimizer, model, self.network)
        self.whole_state: dict[str, object] | None = None
        optimizer.register_state_dict_post_hook(lambda _, state: self.whole_state or state)

    @cached_property
    def group(self) -> dist.ProcessGroup:
        """Connections beside those of training, for parts that are written meanwhile."""
        return dist.new_group(backend="gloo")

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Give model, average and optimizer, within a `with` block of all processes, what all of them hold together."""
        copies = [(self.network, self.model)]
        if self.average is not None:
            copies.append((self.average, self.whole_average))
        for source, target in copies:
            target.load_state_dict({key: _whole(value) for key, value in source.state_dict().items()})
        state = self.optimizer.state_dict()
        values = {
            index: {name: _whole(value).cpu() if isinstance(value, DTensor) else value for name, value in own.items()}
            for index, own in state["state"].items()
        }
        self.whole_state = state | {"state": values}
        try:
            yield
        finally:
            self.whole_state = None

    def follow(self) -> None:
        """Move the average on, each process its part: torch's own update takes no sharded tensors."""
        pairs = zip(_parts_of(self.average.module), _parts_of(self.network), strict=True)
        for own, present in pairs:
            self.average.multi_avg_fn([own], [present], self.average.n_averaged)
        self.average.n_averaged += 1


def _parts_of(module: nn.Module) -> Iterator[Tensor]:
    """What this process holds of parameters and buffers."""
    for tensor in (*module.parameters(), *module.buffers()):
        yield tensor.detach().to_local() if isinstance(tensor, DTensor) else tensor


def shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """`model` itself, each of its `Blocks` gathered for itself when it is needed, the rest together."""
    for blocks in [module for module in model.modules() if isinstance(module, Blocks)]:
        for block in blocks:
            fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _move(optimizer: Optimizer, model: nn.Module, network: nn.Module) -> None:
    """Make an optimizer of the parameters of `model` that of the sharded ones, with its state."""
    parts = dict(network.named_parameters())
    part_of = {parameter: parts[name] for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        group["params"] = [part_of[parameter] for parameter in group["params"]]
    for parameter, state in list(optimizer.state.items()):
        part = part_of[parameter]
        optimizer.state[part] = {
            name: distribute_tensor(value, part.device_mesh, part.placements)
            if isinstance(value, Tensor) and value.shape == part.shape
            else value
            for name, value in state.items()
        }
        del optimizer.state[parameter]


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def write_parts(
    folder: Path, content: dict[str, object], group: dist.ProcessGroup | None
) -> tuple[dict[str, object], Future | None]:
    """Write the tensors of a checkpoint, each process its part; what remains of it is returned.

    With a `group` they are copied, and written when what is returned with it is done.
    """
    tensors = {f"{part}.{key}": value for part in PARTS for key, value in (content[part] or {}).items()}
    rest = {part: content[part] and {} for part in PARTS}
    state = content["optimizer"]
    values = {index: dict(own) for index, own in state["state"].items()}
    for index, own in values.items():
        for name in [name for name, value in own.items() if isinstance(value, Tensor)]:
            tensors[f"optimizer.{index}.{name}"] = own.pop(name)
    save = dcp.save if group is None else partial(dcp.async_save, process_group=group)
    written = save(
        {key: tensor.detach() for key, tensor in tensors.items()},
        storage_writer=dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True),
        planner=DefaultSavePlanner(dedup_save_to_lowest_rank=True),  # running statistics are those of the main process
    )
    remains = {**content, **rest, "optimizer": {**state, "state": values}, "parts": folder.name}
    return remains, None if group is None else written


def read_parts(folder: Path, content: dict[str, object]) -> dict[str, object]:
    """The checkpoint as one process would have written it, on the CPU; `content` is what `write_parts` returned.

    Raises:
        UserError: the folder is missing or damaged.
    """
    try:
        for name, size in content.get("sizes", {}).items():  # torch takes what is missing for any numbers
            file = folder / Path(name).name
            if not file.is_file() or file.stat().st_size != size:
                raise UserError(f"{file}: missing, or not the {size} bytes that were written; resume from another one")
        reader = dcp.HuggingFaceStorageReader(str(folder))
        found = reader.read_metadata().state_dict_metadata
        tensors = {key: torch.empty(value.size, dtype=value.properties.dtype) for key, value in found.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            dcp.load(tensors, storage_reader=reader, no_dist=True)
    except UserError:
        raise
    except Exception as error:  # the readers have no common kind of error
        raise UserError(
            f"{folder}: the parts of a checkpoint cannot be read ({reason_of(error)}); resume from another one"
        ) from error
    for part in PARTS:
        if content[part] is not None:
            content[part] = {
                key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")
            }
    for key in [key for key in tensors if key.startswith("optimizer.")]:
        _, index, name = key.split(".", 2)
        content["optimizer"]["state"].setdefault(int(index), {})[name] = tensors[key]
    return content
