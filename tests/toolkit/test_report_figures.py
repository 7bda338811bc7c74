import pytest

pytest.importorskip("matplotlib")

from toolkit.report.figures import attribute_plots, file_part, main_plots
from toolkit.visualization import save_figure

PLOTS = {
    "OTB100": ["success", "precision", "norm_precision", "attributes"],
    "VOT2018": ["eao_rank", "expected_overlap", "accuracy_robustness", "eao"],
    "VOT2018-LT": ["f1", "f1_threshold", "attributes"],
    "GOT-10k": ["success", "scores", "attributes"],
    "DAVIS2016": ["scores", "attributes"],
}


@pytest.mark.parametrize("name", PLOTS)
def test_every_evaluation_has_its_plots(scored_set, tmp_path, name):
    evaluation = scored_set(name)
    plots = list(main_plots(evaluation, evaluation.dataset.tracker_names))
    assert [plot.name for plot in plots] == PLOTS[name]
    for plot in plots:
        save_figure(plot.figure, tmp_path / f"{plot.name}.png", dpi=40)


def test_attributes_of_one_pass_sets_have_curves(scored_set):
    evaluation = scored_set("OTB100")
    plots = list(
        attribute_plots(evaluation, evaluation.dataset.tracker_names, ("success", "precision"))
    )
    assert [plot.name for plot in plots] == [
        f"{metric}_{attribute}"
        for attribute in ("Fast_Motion", "Occlusion", "Scale_b")
        for metric in ("success", "precision")
    ]
    assert plots[0].title == "Success, Fast Motion (1 video)"
    assert plots[0].figure.axes[0].get_title() == "Success plots of OPE - Fast Motion"
    assert list(attribute_plots(scored_set("VOT2018"), ["good"])) == []


def test_names_of_files_are_harmless():
    assert file_part("Fast Motion") == "Fast_Motion"
    assert file_part("../etc/passwd") == ".._etc_passwd"
    assert file_part("<>") == "_"
