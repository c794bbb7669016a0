import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from grokplane.plot import curves, save

STEPS = [0, 1, 10, 1000, 40000]
METRICS = {
    "Acc/train": [0.0, 0.1, 0.5, 1.0, 1.0],
    "Acc/test": [0.0, 0.0, 0.1, 0.3, 1.0],
    "Loss/train": [4.0, 3.0, 1.0, 1e-3, 0.0],
    "Loss/test": [4.0, 4.0, 6.0, 9.0, 1e-2],
    "WN/layer 1": [3.0, 3.5, 4.0, 2.0, 1.0],
    "WN/layer 2": [4.0, 4.5, 5.0, 3.0, 2.0],
    "WN/total": [7.0, 8.0, 9.0, 5.0, 3.0],
    "WN/global": [5.0, 5.7, 6.4, 3.6, 2.2],
}
MARKS = {"train_step": 1000, "test_step": 40000, "delay": 39000}


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame({"run": "0", "step": STEPS, **METRICS, **columns})


def panels(figure: Figure) -> dict:
    """The axes by the first word of their label."""
    return {axes.get_ylabel().split(" ")[0]: axes for axes in figure.axes}


def lines(axes) -> dict:
    """Lines with a legend entry, by label."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def verticals(axes) -> list:
    return [line.get_xdata()[0] for line in axes.lines if line.get_transform() == axes.get_xaxis_transform()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def pixels(figure: Figure, tmp_path) -> np.ndarray:
    save(figure, tmp_path / "figure.png")
    return imread(tmp_path / "figure.png")


def lay_out(figure: Figure) -> None:
    """Draw the figure without rendering pixels; warnings are errors."""
    figure.draw_without_rendering()


def test_unseen_questions_have_a_line_where_it_is_another():
    columns = {"Acc/unseen": [0.0] * 5, "Loss/unseen": METRICS["Loss/test"]}
    drawn = panels(curves(frame(**columns)))
    assert list(lines(drawn["accuracy"])) == ["train", "test", "unseen"]
    assert list(lines(drawn["loss"])) == ["train", "test"]
    assert list(lines(drawn["accuracy"])["unseen"].get_ydata()) == [0.0] * 5


def test_each_panel_draws_its_columns():
    drawn = panels(curves(frame()))
    assert list(drawn) == ["accuracy", "loss", "weight"]
    expected = {
        "accuracy": {"train": "Acc/train", "test": "Acc/test"},
        "loss": {"train": "Loss/train", "test": "Loss/test"},
        "weight": {
            "layer 1": "WN/layer 1",
            "layer 2": "WN/layer 2",
            "total (sum)": "WN/total",
            "global (L2)": "WN/global",
        },
    }
    for panel, columns in expected.items():
        found = lines(drawn[panel])
        assert list(found) == list(columns)
        assert [text.get_text() for text in drawn[panel].get_legend().get_texts()] == list(columns)
        for label, column in columns.items():
            np.testing.assert_array_equal(found[label].get_xdata(), STEPS)
            np.testing.assert_array_equal(found[label].get_ydata(), METRICS[column])


def test_scales_show_step_0_and_the_last_step():
    drawn = panels(curves(frame()))
    low, high = drawn["accuracy"].get_xlim()
    assert low < 0 < 40000 < high
    assert drawn["loss"].get_yscale() == "log"
    assert drawn["loss"].get_ylabel() == "loss (log scale)"
    assert drawn["weight"].get_ylim()[0] == 0
    places = drawn["weight"].transData.transform([(step, 1) for step in (0, 1, 10, 100)])[:, 0]
    assert np.all(np.diff(places) > 0)
    assert places[2] - places[1] == pytest.approx(places[3] - places[2])
    assert drawn["weight"].get_xlabel() == "step (log scale from 1)"
    assert drawn["weight"].xaxis.get_major_formatter()(10000, None) == "10,000"


def test_rows_may_come_in_any_order():
    shuffled = frame().sample(frac=1, random_state=3)
    found = lines(panels(curves(shuffled))["accuracy"])["train"]
    np.testing.assert_array_equal(found.get_xdata(), STEPS)
    np.testing.assert_array_equal(found.get_ydata(), METRICS["Acc/train"])


def test_marks_in_every_panel_and_named_once():
    figure = curves(frame(), marks=MARKS, threshold=0.95, title="$a_run")
    assert [verticals(axes) for axes in figure.axes] == [[1000, 40000]] * 3
    assert texts(figure) == ["fitted at step 1,000", "generalised at step 40,000 (delay 39,000)"]
    threshold = lines(panels(figure)["accuracy"])["threshold 0.95"]
    np.testing.assert_array_equal(threshold.get_ydata(), [0.95, 0.95])
    assert figure.get_suptitle() == "$a_run"


@pytest.mark.parametrize(
    ("marks", "at", "said"),
    [
        (None, [], []),
        ({"train_step": None, "test_step": None}, [], []),
        ({"train_step": 10, "test_step": None}, [10], ["fitted at step 10"]),
        ({"test_step": 0}, [0], ["generalised at step 0"]),
        (
            {"train_step": 10, "test_step": 1},
            [10, 1],
            ["fitted at step 10", "generalised at step 1 (delay -9)"],
        ),
    ],
)
def test_a_mark_that_is_null_is_not_drawn(marks, at, said):
    figure = curves(frame(), marks=marks)
    assert [verticals(axes) for axes in figure.axes] == [at] * 3
    assert texts(figure) == said
    assert "threshold" not in "".join(lines(figure.axes[0]))


@pytest.mark.parametrize("at", [(0, 1), (10, 10), (1000, 1000), (40000, 40000), (1, 40000), (40000, 0)])
def test_no_text_covers_another_or_leaves_the_figure(at):
    figure = curves(frame(), marks={"train_step": at[0], "test_step": at[1]}, threshold=0.99, title="a title")
    lay_out(figure)
    legends = [axes.get_legend() for axes in figure.axes]
    labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label) if label.get_text()]
    artists = [*figure.texts, *figure.axes[0].texts, *legends, *labels]
    boxes = [artist.get_window_extent() for artist in artists] + [axes.get_window_extent() for axes in figure.axes]
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


@pytest.mark.parametrize(
    ("prefixes", "left"),
    [(("Acc",), ["loss", "weight"]), (("Loss", "WN"), ["accuracy"]), (("Loss/train", "Acc/test"), None)],
)
def test_a_panel_without_columns_is_left_out(prefixes, left):
    rows = frame()
    figure = curves(rows.drop(columns=[name for name in rows if str(name).startswith(prefixes)]), marks=MARKS)
    assert list(panels(figure)) == (left or ["accuracy", "loss", "weight"])
    if left is None:
        assert list(lines(figure.axes[0])) == ["train"]
        assert list(lines(figure.axes[1])) == ["test"]
    assert figure.axes[-1].get_xlabel()
    lay_out(figure)


@pytest.mark.parametrize("rows", [frame()[["run", "step"]], pd.DataFrame(columns=["run", "step"])])
def test_nothing_recorded(rows):
    figure = curves(rows)
    assert texts(figure) == ["neither accuracy nor loss nor weight norms were recorded"]
    lay_out(figure)


def test_no_rows():
    figure = curves(frame().head(0))
    assert texts(figure) == ["no finite value"] * 3
    lay_out(figure)


@pytest.mark.parametrize("nothing", [None, np.nan, np.inf])
def test_columns_of_nothing_say_so(nothing):
    gone = pd.Series([nothing] * len(STEPS), dtype=object)
    rows = frame(**{"Loss/train": gone, "Loss/test": gone, "Acc/test": gone})
    figure = curves(rows)
    assert texts(figure) == ["no finite value"]
    assert np.isnan(lines(panels(figure)["accuracy"])["test"].get_ydata()).all()
    assert panels(figure)["loss"].get_yscale() == "linear"
    lay_out(figure)


def test_gaps_stay_gaps_and_a_lone_value_gets_a_dot():
    figure = curves(frame(**{"Acc/test": [0.0, 0.1, np.nan, 0.5, np.inf]}))
    line = lines(panels(figure)["accuracy"])["test"]
    np.testing.assert_array_equal(line.get_ydata(), [0, 0.1, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(line.get_markevery(), [False, False, False, True, False])


def test_one_row_is_seen(tmp_path):
    rows = frame().head(1)
    empty = pixels(curves(rows.assign(**dict.fromkeys(METRICS, np.nan))), tmp_path)
    figure = curves(rows, marks={"train_step": None}, threshold=0.99)
    assert [list(line.get_markevery()) for line in lines(figure.axes[2]).values()] == [[True]] * 4
    assert not np.array_equal(pixels(figure, tmp_path), empty)


def test_close_losses_get_a_whole_decade():
    figure = curves(frame(**{"Loss/train": [4.0, 4.01, 4.02, 4.03, 4.04], "Loss/test": 4.0}))
    assert panels(figure)["loss"].get_ylim() == (1, 10)


def test_losses_of_zero():
    figure = curves(frame(**{"Loss/train": 0.0, "Loss/test": 0.0}))
    assert panels(figure)["loss"].get_yscale() == "linear"
    low, high = panels(figure)["loss"].get_ylim()
    assert low < 0 < high
    mixed = curves(frame(**{"Loss/train": 0.0}))
    assert panels(mixed)["loss"].get_ylim()[0] > 0
    lay_out(figure)
    lay_out(mixed)


def test_several_runs_share_a_legend():
    both = pd.concat([frame(), frame(run="1", **{"Acc/train": 0.25})])
    axes = panels(curves(both))["accuracy"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "test"]
    assert [list(line.get_ydata()) for line in axes.lines] == [
        METRICS["Acc/train"],
        METRICS["Acc/test"],
        [0.25] * 5,
        METRICS["Acc/test"],
    ]
    assert all(len(line.get_xdata()) == len(STEPS) for line in axes.lines)


def test_the_frame_is_left_as_it_was():
    rows = frame().sample(frac=1, random_state=1)
    before = rows.copy(deep=True)
    curves(rows, marks=MARKS)
    pd.testing.assert_frame_equal(rows, before)


def test_layers_keep_colours_apart():
    deep = pd.DataFrame({"step": [0, 1], **{f"WN/layer {i}": [i, i + 1] for i in range(1, 13)}})
    axes = curves(deep).axes[0]
    assert len({line.get_color() for line in axes.lines}) == 12
    assert [line.get_label() for line in axes.lines] == [f"layer {i}" for i in range(1, 13)]


def test_save_writes_150_dots_per_inch_into_a_new_folder(tmp_path):
    figure = curves(frame())
    path = tmp_path / "figures" / "curves.png"
    save(figure, path)
    height, width, _ = imread(path).shape
    assert [width, height] == [round(inches * 150) for inches in figure.get_size_inches()]
    assert os.listdir(path.parent) == ["curves.png"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    figure = curves(frame())
    figure.axes[0].set_title("$\\notatex$")
    with pytest.raises(ValueError, match="notatex"):
        save(figure, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["curves.png"]


# First bytes of a file of each format.
BEGINNINGS = {
    "png": b"\x89PNG",
    "PNG": b"\x89PNG",
    "pdf": b"%PDF",
    "svg": b"<?xml",
    "svgz": b"\x1f\x8b",
    "eps": b"%!PS-Adobe",
    "ps": b"%!PS-Adobe",
    "jpg": b"\xff\xd8",
    "jpeg": b"\xff\xd8",
    "tiff": b"II*\0",
    "webp": b"RIFF",
}


@pytest.mark.parametrize("ending", BEGINNINGS)
@pytest.mark.parametrize("kind", [str, Path])
def test_save_takes_text_or_a_path_and_writes_what_its_ending_says(tmp_path, ending, kind):
    path = tmp_path / f"a.b.{ending}"
    save(Figure(figsize=(1, 1)), kind(path))
    assert path.read_bytes().startswith(BEGINNINGS[ending])
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["curves", "curves.", "curves.v2", ".pdf", "curves.xyz"])
def test_save_refuses_an_ending_that_names_no_format(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{re.escape(name)}: must end in one of \.\w+, .*\.pdf, .*\.png, .*\.svg, "):
        save(Figure(figsize=(1, 1)), str(tmp_path / "new" / name))
    assert os.listdir(tmp_path) == []
