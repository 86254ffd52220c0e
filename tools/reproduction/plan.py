"""The commands of a table: data, weights, training, evaluation."""

import shlex
from collections.abc import Iterator

from tools.data_sets import data_sets
from tools.reproduction import counts
from tools.reproduction.tables import Row, Step, Table
from tools.text import aligned

NOT_KNOWN = "not known"


def output(table: Table, row: Row, seed: int) -> str:
    """Folder of a run; `report` recognises runs by it."""
    return f"output/{table.name}/{row.name}/seed{seed}"


def python(script: str, arguments: str = "", processes: int | None = 1) -> str:
    """A command; `processes` None: a number that the reader chooses."""
    launcher = "python"
    if processes != 1:
        launcher = f"torchrun --standalone --nproc_per_node={processes or 'N'}"
    return f"{launcher} {script} {arguments}".strip()


def training(table: Table, row: Row, step: Step, seed: int, *, published: bool) -> str:
    """One training command, for the published number of processes or for one."""
    folder = output(table, row, seed)
    words = [step.arguments.format(output=folder), "" if published else step.one_gpu]
    words += [
        f"--data-path {data_sets()[table.data].home}",
        f"--output-dir {'/'.join(filter(None, (folder, step.folder)))}",
    ]
    words.append(f"--seed {seed}")
    return python(step.script, " ".join(filter(None, words)), (step.gpus or None) if published else 1)


def evaluation(table: Table, row: Row, weights: str) -> str:
    """The command that tests a weights file."""
    step = row.steps[-1]
    arguments = without(step.arguments, "--finetune", "--resume", "--weights")
    words = (arguments, row.test, f"--data-path {data_sets()[table.data].home} --eval --weights {weights}")
    return python(step.script, " ".join(filter(None, words)))


def without(arguments: str, *flags: str) -> str:
    """The arguments without some flags and the value of each."""
    words = shlex.split(arguments)
    drop = {at + offset for at, word in enumerate(words) if word in flags for offset in (0, 1)}
    return shlex.join(word for at, word in enumerate(words) if at not in drop)


def preparations(table: Table) -> list[str]:
    """The commands that make the data set readable, once for each number of time steps, and check it."""
    source, tool = data_sets()[table.data], "tools/convert_dataset.py"
    made = f"prepare {table.data} --source SOURCE --output {source.home}" if source.convert else ""
    times = sorted({counts.network(row).layout.T for row in table.rows}) if source.frames else []
    commands = [f"{made} -T {T}" for T in times] or [made]
    return [python(tool, command) for command in (*filter(None, commands), f"check {table.data} {source.home}")]


def hours(row: Row) -> str:
    """The GPU hours of a row as far as the published logs tell."""
    return NOT_KNOWN if row.gpu_hours is None else f"{row.gpu_hours:.1f} ({row.gpu_hours_source})"


def figure(row: Row) -> str:
    """The published accuracy and where it was read."""
    return NOT_KNOWN if row.accuracy is None else f"{percent(row)} % ({origin(row)})"


def percent(row: Row) -> str:
    """The published accuracy with its standard deviation, if there is one."""
    return f"{row.accuracy}" + ("" if row.spread is None else f" ± {row.spread}")


def others(row: Row) -> str:
    """The other published figures and where they were read."""
    rate = "" if row.rate is None else f"; firing rate {row.rate} ({row.rate_source})"
    return rate + ("" if row.energy is None else f"; {row.energy} mJ ({row.energy_source})")


def origin(row: Row) -> str:
    """Where the accuracy was read, and what else is known of it."""
    return "; ".join(filter(None, (row.source, row.remark)))


def plan(table: Table, seed: int | None) -> Iterator[str]:
    """The lines of the plan of a table, for its published seed or another one."""
    seed = table.seed if seed is None else seed
    source = data_sets()[table.data]
    yield f"{table.name}: {table.title}"
    yield from aligned(
        {
            "source": table.reference,
            "recipe": table.recipe,
            "selection": table.selection,
            "data": f"{source.title}, in {source.home}; fetch {source.files} from {source.url}",
        }
    )
    yield f"What differs from the paper (more: {table.notes}):"
    yield from (f"  - {difference}" for difference in table.differs)
    yield ""
    yield from (f"  {command}" for command in preparations(table))
    for row in table.rows:
        yield ""
        yield f"{row.title}: published {figure(row)}{others(row)}; GPU hours {hours(row)}"
        if row.missing:
            yield f"  not run: {row.missing}"
        yield from (f"  {line}" for line in commands(table, row, seed))


def commands(table: Table, row: Row, seed: int) -> Iterator[str]:
    """The commands of a row, each after a word that says what it does."""
    for step in row.steps:
        name = f"train {step.folder}".strip()
        if step.gpus != 1:
            processes = f"{step.gpus} GPUs" if step.gpus else "N GPUs, their number is not stated"
            yield f"# {name} as published, {processes}"
            yield training(table, row, step, seed, published=True)
        yield f"# {name} on one GPU" + (f", the batch of all {step.gpus}" if step.one_gpu else "")
        yield training(table, row, step, seed, published=False)
    yield "# evaluate" + (" the newest, if several files match" if "*" in table.best else "")
    yield evaluation(table, row, f"{output(table, row, seed)}/{table.best}")
    if row.weights:
        yield "# the authors' weights"
        yield python("tools/fetch_weights.py", f"fetch {row.weights}")
        yield evaluation(table, row, row.weights)
