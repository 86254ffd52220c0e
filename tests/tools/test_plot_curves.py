import pytest

from common.errors import UserError
from spikingformer.published import curves
from tools import plot_curves

RUN = "cml_spikingformer_4_384_cifar10_400e"
SUMMARY = "epoch,train_loss,eval_loss,eval_top1,eval_top5\n0,2.1,1.8,36.5,88.0\n1,2.0,1.5,46.5,92.0\n"
LOG = "epoch,lr,train_loss,train_acc1,test_loss,test_acc1\n1,0.1,2.1,30,1.8,36.5\n2,0.1,2.0,40,1.5,46.5\n"
HISTORY = {
    "epoch": [0, 1],
    "training loss": [2.1, 2.0],
    "test loss": [1.8, 1.5],
    "top-1 accuracy (%)": [36.5, 46.5],
}


@pytest.fixture
def summary(tmp_path):
    (tmp_path / "summary.csv").write_text(SUMMARY)
    return tmp_path / "summary.csv"


def test_own_and_published_curves_are_drawn(summary, tmp_path):
    output = tmp_path / "curves.png"
    plot_curves.main([str(summary), "--run", RUN, "--output", str(output)])
    assert output.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", [SUMMARY, LOG], ids=["summary.csv", "log.csv"])
def test_both_kinds_of_table_give_the_same_curves(content, tmp_path):
    (tmp_path / "table.csv").write_text(content)
    assert plot_curves.read_history(tmp_path / "table.csv") == HISTORY


def test_a_pretraining_has_a_training_loss_only(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,lr,train_loss,seconds\n1,0.1,2.1,9\n")
    assert plot_curves.read_history(tmp_path / "log.csv") == {"epoch": [0], "training loss": [2.1]}


def test_stars_mark_the_best_epoch_of_each_own_run_and_a_line_chance(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(plot_curves, "save_figure", lambda figure, path: drawn.append(figure))
    plot_curves.draw({"mine": HISTORY}, {"theirs": plot_curves.published(curves()[RUN])}, "", [10, None])
    (figure,) = drawn
    texts = [text.get_text() for text in figure.legends[0].texts]
    assert texts == ["published: theirs", "mine, best 46.50 % at 1", "chance, 10.0 %"]
    stars = [[line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "*"] for axes in figure.axes]
    assert stars == [[], [], [[[1, 46.5]]]]


def test_chance_is_known_from_the_card_beside_a_run(tmp_path):
    (tmp_path / "best.json").write_text('{"model": "x", "classes": ["cat", "dog"]}')
    (tmp_path / "metrics.json").write_text('{"acc1": 5}')
    assert plot_curves.classes_beside(tmp_path) == 2


def test_the_kind_of_picture_can_be_chosen(summary, tmp_path):
    plot_curves.main([str(summary), "--format", "svg", "--output", str(tmp_path / "curves.png")])
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("name", curves())
def test_best_published_accuracy_is_on_its_curve(name):
    run = curves()[name]
    drawn = plot_curves.published(run)
    at_best = drawn["epoch"].index(run["best_epoch"])
    assert drawn["top-1 accuracy (%)"][at_best] == run["best_top1"]


def test_published_runs_are_listed(capsys):
    plot_curves.main(["--list"])
    assert f"{RUN}: best top-1 95.97 % at epoch 397" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "epoch,lr\n0,1\n", SUMMARY.replace("2.1", "high"), SUMMARY + "2,3\n"])
def test_a_table_with_other_columns_or_values_is_named(content, tmp_path):
    (tmp_path / "summary.csv").write_text(content)
    with pytest.raises(UserError, match=r"summary\.csv: .*; name the"):
        plot_curves.main([str(tmp_path / "summary.csv"), "--output", str(tmp_path / "curves.png")])


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        plot_curves.main([str(tmp_path / "none.csv")])


def test_an_unknown_kind_of_picture_is_refused(summary):
    with pytest.raises(UserError, match=r"curves\.xyz: .* ends in \.png"):
        plot_curves.main([str(summary), "--output", "curves.xyz"])


def test_nothing_to_draw_says_what_to_name():
    with pytest.raises(UserError, match="nothing to draw: name a"):
        plot_curves.main([])
