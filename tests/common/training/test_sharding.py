"""FSDP2: the losses of one process, and checkpoints for any number of them."""

import json
import shutil
import signal

import pytest
import torch

from common.errors import UserError
from common.training import load_checkpoint, load_weights
from common.training.checkpoint import save_checkpoint
from tests.common.training import toy
from tests.common.training.runs import outcome, start_pair
from tests.programs import run_pair


def train(folder, *arguments):
    return toy.main(["--output-dir", str(folder), *map(str, arguments)])


def curve(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row[key] for row in rows for key in ("train_loss", "test_loss", "test_ema_loss")]


def assert_same(folder, whole):
    assert curve(folder) == pytest.approx(curve(whole), rel=1e-9)
    ours, theirs = (torch.load(place / "best.pt", weights_only=True) for place in (folder, whole))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-8, atol=1e-10)


SWITCHES = ["--ema", "--accumulate", 2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One process and a batch of 8."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, "-b", 8, *SWITCHES)
    return folder


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """Two processes, stopped within the second epoch; then one goes on, and the same two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    words = ["-b", 4, *SWITCHES, "--fsdp"]
    stopped = [["--output-dir", folder, *words, "--stop-at", 8] for folder in (one, two)]
    beside = ["--async-checkpoints", "--checkpoint-every", 4]
    printed = start_pair(*stopped, ["--output-dir", two, *words, "--resume", *beside])
    return one, two, printed


def test_two_processes_with_parts_follow_the_curve_of_one(sharded, whole):
    _, two, printed = sharded
    assert printed[0].count("exit status 143") == 2, printed
    assert_same(two, whole)


def test_a_checkpoint_in_parts_is_replaced_whole(sharded):
    _, two, _ = sharded
    content = load_checkpoint(two / "checkpoint.pt")
    assert [folder.name for folder in two.glob("*.parts")] == [content["parts"]] == ["checkpoint-3-0.parts"]


def test_one_process_goes_on_where_two_stopped(sharded, whole):
    one, _, _ = sharded
    train(one, "-b", 8, *SWITCHES, "--resume")
    assert_same(one, whole)


def test_parts_that_are_missing_are_named(sharded, tmp_path):
    _, two, _ = sharded
    (tmp_path / "checkpoint.pt").write_bytes((two / "checkpoint.pt").read_bytes())
    with pytest.raises(UserError, match=r"checkpoint-3-0.parts/shard-0.*: missing, or not the \d+ bytes"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    parts = shutil.copytree(two / "checkpoint-3-0.parts", tmp_path / "checkpoint-3-0.parts")
    load_checkpoint(tmp_path / "checkpoint.pt")
    first, second = sorted(parts.iterdir())
    second.unlink()
    with pytest.raises(UserError, match=rf"{second}: missing"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    shutil.copyfile(first, second)
    with pytest.raises(UserError, match=f"{second}: missing, or not"):
        load_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("name", ["", "..", "/etc", "../x.parts"])
def test_parts_are_beside_the_checkpoint_or_refused(tmp_path, name):
    save_checkpoint(tmp_path / "checkpoint.pt", {"parts": name})
    (tmp_path.parent / "x.parts").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=rf"names {name!r} as its parts|{tmp_path}/x.parts: the parts"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_the_best_weights_are_a_plain_file(sharded):
    load_weights(toy.Toy(0.0), sharded[1] / "best.pt")


def test_the_weights_can_be_taken_from_a_checkpoint_in_parts(sharded):
    model = toy.Toy(0.0)
    load_weights(model, sharded[1] / "checkpoint.pt")
    best = torch.load(sharded[1] / "best.pt", weights_only=True)
    assert model.state_dict().keys() == best.keys()


def test_a_single_process_has_nothing_to_share(tmp_path):
    with pytest.raises(UserError, match="--fsdp shares the network among processes, and here is one"):
        train(tmp_path, "--fsdp")


KILLED = """
import os, signal, sys
from torch.distributed.checkpoint import HuggingFaceStorageWriter
from common.training import state
from tests.common.training import toy

name, when, rank, *arguments = sys.argv[1:]
place = HuggingFaceStorageWriter if name == "write_data" else state
call, calls = getattr(place, name), []

def dying(*given):
    calls.append(given)
    if len(calls) == 2 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = call(*given)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

if os.environ["RANK"] == rank:
    setattr(place, name, dying)
toy.main(arguments)
"""


@pytest.mark.slow
@pytest.mark.parametrize("beside", [["--checkpoint-every", 2], ["--checkpoint-every", 4, "--async-checkpoints"]])
@pytest.mark.parametrize(
    ("name", "when", "rank", "left"),
    [
        ("write_data", "before", 1, 2),
        ("write_data", "after", 1, 2),
        ("write_data", "after", 0, 2),
        ("save_checkpoint", "before", 0, 2),
        ("_leave", "before", 0, 4),
    ],
)
def test_a_kill_while_parts_are_written_leaves_the_checkpoint_before(tmp_path, name, when, rank, left, beside):
    """Two processes save after 2 and 4 batches, and one is killed in the second of these."""
    (tmp_path / "killed.py").write_text(KILLED)
    words = ["-b", 4, "--random", "--ema", "--fsdp", *beside]
    ends = run_pair(tmp_path / "killed.py", name, when, rank, "--output-dir", tmp_path / "parts", *words)
    assert ends[rank].returncode == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == left
    start_pair(["--output-dir", tmp_path / "parts", *words, "--resume"], ["--output-dir", tmp_path / "whole", *words])
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
    assert [folder.name for folder in (tmp_path / "parts").glob("*.parts")] == ["checkpoint-3-0.parts"]


@pytest.mark.slow
def test_four_processes_go_on_where_two_stopped_and_two_where_four_did(tmp_path, whole):
    for name, first, second in (("wider", 2, 4), ("narrower", 4, 2)):
        folder = tmp_path / name
        words = ["--output-dir", folder, *SWITCHES, "--fsdp"]
        start_pair([*words, "-b", 8 // first, "--stop-at", 8], processes=first)
        start_pair([*words, "-b", 8 // second, "--resume"], processes=second)
        assert_same(folder, whole)


@pytest.mark.slow
def test_plain_processes_go_on_with_another_number_too(tmp_path, whole):
    words = ["--output-dir", tmp_path, *SWITCHES]
    start_pair([*words, "-b", 2, "--stop-at", 8], processes=4)
    start_pair([*words, "-b", 4, "--resume"])
    assert_same(tmp_path, whole)
