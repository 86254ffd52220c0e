import pytest

from spikingformer.published import curves
from tools import plot_curves

RUN = "cml_spikingformer_4_384_cifar10_400e"
SUMMARY = "epoch,train_loss,eval_loss,eval_top1,eval_top5\n0,2.1,1.8,36.5,88.0\n1,2.0,1.5,46.5,92.0\n"


@pytest.fixture
def summary(tmp_path):
    (tmp_path / "summary.csv").write_text(SUMMARY)
    return tmp_path / "summary.csv"


def test_own_and_published_curves_are_drawn(summary, tmp_path):
    output = tmp_path / "curves.png"
    assert plot_curves.main([str(summary), "--run", RUN, "--output", str(output)]) == 0
    assert output.read_bytes().startswith(b"\x89PNG")


def test_columns_of_the_summary_are_the_panels(summary):
    assert plot_curves.read_summary(summary) == {
        "epoch": [0, 1],
        "training loss": [2.1, 2.0],
        "test loss": [1.8, 1.5],
        "top-1 accuracy (%)": [36.5, 46.5],
    }


@pytest.mark.parametrize("name", curves())
def test_best_published_accuracy_is_on_its_curve(name):
    run = curves()[name]
    drawn = plot_curves.published(run)
    at_best = drawn["epoch"].index(run["best_epoch"])
    assert drawn["top-1 accuracy (%)"][at_best] == run["best_top1"]


def test_published_runs_are_listed(capsys):
    assert plot_curves.main(["--list"]) == 0
    assert f"{RUN}: best top-1 95.97 % at epoch 397" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["epoch,train_loss\n0,1\n", SUMMARY.replace("2.1", "high"), SUMMARY + "2,3\n"])
def test_a_summary_with_other_columns_or_values_is_named(content, tmp_path, capsys):
    (tmp_path / "summary.csv").write_text(content)
    assert plot_curves.main([str(tmp_path / "summary.csv"), "--output", str(tmp_path / "curves.png")]) == 1
    assert "summary.csv: cannot be read" in capsys.readouterr().err


def test_a_missing_summary_is_named(tmp_path, capsys):
    assert plot_curves.main([str(tmp_path / "none.csv")]) == 1
    assert "none.csv: cannot be read" in capsys.readouterr().err
