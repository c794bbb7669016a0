"""Figures of arrays: values and colours of known embeddings, maps, histograms and outputs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from command import TINY, Inside, ended_well
from matplotlib.figure import Figure

from grokplane import plot
from grokplane.app.member_writer import recorded_arrays
from grokplane.mechanism.waves import Waves
from grokplane.plot import characters, logits
from grokplane.plot.recorded import stages
from grokplane.record import load_arrays

N, STEPS = 11, np.array([0, 10, 100, 1000])
MARKS = {"train_step": 20, "test_step": 1000}
METRICS = ("activation_maps", "embeddings", "weight_histograms", "logit_slices")


class Recorded(NamedTuple):
    steps: np.ndarray
    values: np.ndarray


def over_steps(values: object, steps: np.ndarray = STEPS) -> Recorded:
    """The same array at every step."""
    return Recorded(steps, np.stack([np.asarray(values)] * len(steps)))


def circles() -> np.ndarray:
    """An embedding [n, 6] of a constant, a circle of frequency 3 and radius 2, and one of frequency 5 and radius 1."""
    angle = 2 * np.pi * np.arange(N) / N
    waves = [2 * np.cos(3 * angle), 2 * np.sin(3 * angle), np.cos(5 * angle), np.sin(5 * angle)]
    random = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    return np.stack([7 * np.ones(N), *waves, 0 * angle], 1) @ random


def embedding(table: np.ndarray, orders: tuple[int, ...] = (N,)) -> dict[str, Recorded]:
    return {"embedding": over_steps(table), "embedding_orders": over_steps(orders)}


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def mesh(figure: Figure, panel: int = 0) -> np.ndarray:
    (image,) = (one for one in figure.axes[panel].collections if type(one).__name__ == "QuadMesh")
    return np.ma.filled(np.ma.asarray(image.get_array()).astype(float), np.nan)


@pytest.mark.parametrize("orders", [(7,), (8,), (2, 4), (3, 1), (2, 2, 3)])
def test_frequencies_are_those_of_the_metric(orders: tuple[int, ...]) -> None:
    known = Waves(orders).pairs.numpy()
    np.testing.assert_allclose(characters.waves(characters.turns(orders)), known, atol=1e-12)


def test_energies_add_up_to_the_sum_of_squares() -> None:
    values = np.random.default_rng(0).normal(size=(2, 8, 3))
    energy = characters.energies(characters.turns((2, 4)), values)
    assert energy.shape == (2, 6)
    np.testing.assert_allclose(energy.sum(1), np.square(values).sum((1, 2)))


def test_the_spectrum_of_two_circles() -> None:
    share = mesh(plot.embedding_spectrum(embedding(circles()), marks=MARKS))
    assert share.shape == (5, 4)  # frequencies 1 to 5 by steps
    np.testing.assert_allclose(share, np.array([0, 0, 0.8, 0, 0.2])[:, None] * np.ones(4), atol=1e-12)


def test_two_circles_are_drawn_as_circles_of_their_radii_in_the_order_of_their_phases() -> None:
    figure = plot.embedding_circles(embedding(circles()), marks=MARKS, title="a run")
    assert titles(figure)[:2] == ["k = 3: 80%", "k = 5: 20%"]
    rows = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert rows == ["start\nstep 0", "fitted\nstep 100", "end\nstep 1,000"]
    for axes, radius in zip(figure.axes[:2], (2, 1), strict=True):
        (dots,) = axes.collections
        points, phase = np.asarray(dots.get_offsets()), np.asarray(dots.get_array())
        np.testing.assert_allclose(np.hypot(*points.T), radius)
        np.testing.assert_allclose(np.exp(2j * np.pi * phase), (points[:, 0] + 1j * points[:, 1]) / radius, atol=1e-9)


def test_directions_are_those_of_the_last_step_at_which_the_embedding_is_finite() -> None:
    arrays = embedding(circles())
    arrays["embedding"].values[0] = 0
    arrays["embedding"].values[3] = np.nan
    figure = plot.embedding_circles(arrays)
    assert titles(figure)[::5] == ["k = 3: 0%", "k = 3: 80%"]
    assert [axes.get_ylabel() for axes in figure.axes[::5]] == ["start\nstep 0", "end\nstep 100"]
    radii = [np.hypot(*np.asarray(axes.collections[0].get_offsets()).T) for axes in figure.axes[::5]]
    np.testing.assert_allclose(radii, [[0.0] * N, [2.0] * N], atol=1e-12)
    arrays["embedding"].values[:] = np.nan
    with pytest.raises(ValueError, match="no finite embedding"):
        plot.embedding_circles(arrays)


def test_padding_of_a_smaller_group_is_cut_off() -> None:
    padded = np.concatenate([circles(), np.full((3, 6), np.nan)])
    assert titles(plot.embedding_circles(embedding(padded, (N, 1))))[0] == "k = 3: 80%"
    maps = np.full((1, 5, 5), np.nan)
    maps[0, :3, :3] = np.arange(9).reshape(3, 3)
    figure = plot.activation_maps({"maps/layer 1": over_steps(maps), "map_units/layer 1": over_steps([4])})
    (image,) = figure.axes[0].images
    assert np.asarray(image.get_array()).tolist() == maps[0, :3, :3].tolist()


def test_maps_have_a_row_for_each_stage_and_layer() -> None:
    maps = np.arange(4 * 2 * 9.0).reshape(4, 2, 3, 3)
    maps[0, 0, 1, 1] = np.nan  # not all pairs are questions
    arrays = {f"maps/{layer}": Recorded(STEPS, maps) for layer in ("one", "two")}
    figure = plot.activation_maps(
        arrays | {f"map_units/{layer}": over_steps([0, 5]) for layer in ("one", "two")}, marks=MARKS
    )
    assert len(figure.axes) == 2 * 3 * 2
    assert titles(figure)[:6] == ["unit 0: 8", "unit 5: 17", "44", "53", "62", "71"]
    rows = ("start\nstep 0", "fitted\nstep 100", "end\nstep 1,000")
    beside = [axes.texts[0].get_text() for axes in figure.axes[::2]]
    assert beside == [f"{layer}\n{row}" for layer in ("one", "two") for row in rows]
    shown = np.ma.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(np.ma.filled(shown, np.nan), maps[0, 0])
    with pytest.raises(ValueError, match="no arrays maps/<layer>"):
        plot.activation_maps({})


def test_histograms_are_shares_of_the_layers_weights() -> None:
    edges, counts = np.array([-10.0, -0.1, 0.0, 0.1, 10.0]), np.array([[0, 3, 1, 0]] * 3 + [[1, 0, 0, 1]])
    arrays = {"weight_counts/one": Recorded(STEPS, counts), "weight_edges": over_steps(edges)}
    figure = plot.weight_histograms(arrays, marks=MARKS)
    np.testing.assert_array_equal(mesh(figure)[:, 0], [np.nan, 0.75, 0.25, np.nan])
    np.testing.assert_array_equal(mesh(figure)[:, 3], [0.5, np.nan, np.nan, 0.5])
    labels = dict(
        zip([one.get_text() for one in figure.axes[0].get_yticklabels()], figure.axes[0].get_yticks(), strict=True)
    )
    assert labels.items() >= {"-10": 0.0, "0": 2.0, "10": 4.0}.items()


def test_outputs_on_a_circle_have_two_components_with_all_of_the_variance() -> None:
    angle = 2 * np.pi * 3 * np.arange(N) / N
    outputs = np.stack([3 + np.cos(angle), np.sin(angle), np.zeros(N), 5 + np.zeros(N)], 1)
    points, explained = logits.components(outputs)
    assert explained == pytest.approx(1)
    np.testing.assert_allclose(np.hypot(*points.T), 1)
    arrays = {"slices": over_steps(outputs[None]), "slice_elements": over_steps([2]), "slice_orders": over_steps([N])}
    figure = plot.logit_components(arrays, marks=MARKS)
    assert titles(figure)[1] == "fitted\nstep 100\n100% of the variance"
    assert [figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()] == ["k = 3 (100%)"] * 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["c = 2"]
    arrays["slices"].values[3] = np.nan
    assert [text.get_text() for text in plot.logit_components(arrays).axes[1].texts] == ["no finite values"]


def test_constant_outputs_and_fewer_classes_than_components() -> None:
    points, explained = logits.components(np.ones((N, 1)))
    assert (points.shape, explained) == ((N, 2), 0.0)
    assert logits.strongest(characters.turns((N,)), points)[1].tolist() == [0, 0]


def test_stages_are_the_ends_and_the_log_points_at_or_after_the_marks() -> None:
    assert list(stages(STEPS, {})) == [0, 3]
    assert stages(STEPS, {"train_step": 10, "test_step": 11}) == {
        0: "start\nstep 0",
        1: "fitted\nstep 10",
        2: "generalised\nstep 100",
        3: "end\nstep 1,000",
    }
    assert list(stages(STEPS, {"train_step": 0, "test_step": 2000})) == [0, 3]
    assert stages(STEPS[:1], MARKS) == {0: "start\nstep 0"}


def test_a_group_without_frequencies_has_no_figures_of_them() -> None:
    arrays = embedding(np.ones((6, 2)), (0,))
    assert list(plot.array_pictures({"embeddings": arrays})) == []
    assert [one.name for one in plot.array_pictures({"embeddings": embedding(circles())})] == [
        "embedding_circles",
        "embedding_spectrum",
    ]
    for draw in (plot.embedding_circles, plot.embedding_spectrum):
        with pytest.raises(ValueError, match="has no frequencies"):
            draw(arrays)
    with pytest.raises(ValueError, match="has no frequencies"):
        plot.logit_components({"slice_orders": over_steps([0])})


def test_a_resumed_run_that_lists_the_metrics_draws_their_figures(tmp_path: Path, inside: Inside) -> None:
    typed = (*TINY, "mi=off", "record.wandb=disabled", f"metrics=[loss,accuracy,{','.join(METRICS)}]", "log.every=5")
    ended_well(inside, *typed, "train.steps=10", "record.figures=false", "hydra.run.dir=run", cwd=tmp_path)
    assert not (tmp_path / "run/figures").exists()
    more = ("train.steps=15", "train.resume=true", "record.figures=true")
    ended_well(inside, *typed, *more, "hydra.run.dir=run", cwd=tmp_path)
    figures = {path.name for path in (tmp_path / "run/figures").iterdir()}
    assert figures == {"curves.png", *(f"{one.name}.png" for one in plot.ARRAY_PICTURES)}
    steps = load_arrays(tmp_path / "run", "embeddings")["embedding"].steps
    assert (steps[0], steps[-1], len(set(steps))) == (0, 15, len(steps))


def test_arrays_that_cannot_be_read_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert recorded_arrays(tmp_path, "embeddings") == {}
    assert not caplog.records
    (tmp_path / "arrays").mkdir()
    with zipfile.ZipFile(tmp_path / "arrays/embeddings.npz", "w") as archive:
        archive.writestr("no step/embedding.npy", b"")
    assert recorded_arrays(tmp_path, "embeddings") == {}
    assert [record.message for record in caplog.records] == ["arrays/embeddings.npz could not be read"]
