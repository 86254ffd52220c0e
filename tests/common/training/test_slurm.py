"""The Slurm script of docs/scale.md under bash, with stand-ins for what Slurm has: it queues itself again in time."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "scale.md"
STAND_INS = {
    "srun": """echo "$@" > step; echo $$ > pid.new; mv pid.new pid
        [ "$ENDS" = never ] || exit "$ENDS"
        trap 'echo saved > state; exit 1' TERM; while :; do sleep 0.05; done""",
    "scancel": 'echo "$@" > cancelled; kill -TERM "$(cat pid)"',
    "scontrol": '[ "$1" = show ] && echo "$3-1" && echo "$3-2"; [ "$1" = requeue ] && cat state > requeued',
}


def started(folder: Path, ends: str) -> subprocess.Popen:
    """The script, whose step ends with the status `ends`."""
    for name, body in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    script = re.search(r"```bash\n(#!/bin/bash\n.*?)```", PAGE.read_text(), re.DOTALL)[1]
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node", "ENDS": ends, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.Popen(["bash", "-c", script], cwd=folder, env=os.environ | slurm)


def test_a_job_out_of_time_saves_and_queues_itself_again(tmp_path):
    job = started(tmp_path, "never")
    while not (tmp_path / "pid").exists():
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(20) == 1
    assert (tmp_path / "cancelled").read_text() == "--signal=TERM 7\n"
    assert (tmp_path / "requeued").read_text() == "saved\n", "queued before it had saved"
    assert "--rdzv-endpoint node-1:29500" in (tmp_path / "step").read_text()


@pytest.mark.parametrize("status", [0, 3])
def test_a_job_that_ends_by_itself_is_not_queued_again(tmp_path, status):
    assert started(tmp_path, str(status)).wait(20) == status
    assert not (tmp_path / "requeued").exists()
