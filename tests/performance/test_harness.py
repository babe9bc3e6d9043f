"""The benchmarks' own arithmetic, tables, charts and page: what they say has to be what they measured."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.chart import bars, lines
from benchmarks.document import between_marks, refusal, write
from benchmarks.growth import Line
from benchmarks.paced import due
from benchmarks.report import Aim, Figure, Outcome, Quiet, percentile, quiet_rounds, table
from benchmarks.servers import BenchmarkError, Run

ROOT = Path(__file__).resolve().parents[2]


def run(rate: float, busy: float) -> Run:
    return Run(rate=rate, cost=1.0, busy=busy)


def test_a_figure_is_the_median_and_the_quartiles() -> None:
    figure = Figure.of([4, 1, 3, 2, 5])

    assert figure == Figure(3, 2, 4)
    assert f"{figure:.1f}" == "3.0 (2.0 to 4.0)"


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_rounds_in_which_a_steady_row_lost_its_core_are_left_out() -> None:
    runs = {
        "steady": [run(1, 1.0), run(2, 0.5), run(3, 0.99), run(4, 0.97)],
        "other": [run(10, 0.1), run(20, 1.0), run(30, 0.2), run(40, 0.3)],
    }

    chosen, quiet = quiet_rounds(runs, ["steady"])

    assert [each.rate for each in chosen["other"]] == [10, 30, 40]
    assert quiet == Quiet(4, 3)
    assert quiet.enough


def test_too_few_quiet_rounds_are_not_picked_from_but_all_shown() -> None:
    runs = {"steady": [run(number, 0.5 if number > 3 else 1.0) for number in range(1, 9)]}

    chosen, quiet = quiet_rounds(runs, ["steady"])

    assert len(chosen["steady"]) == 8
    assert not quiet.enough
    assert "too few" in quiet.sentence


def test_noise_is_not_published() -> None:
    assert refusal([Outcome("logins", "", quiet=Quiet(9, 4)), Outcome("memory", "")]) is not None
    assert refusal([Outcome("logins", "", quiet=Quiet(9, 5)), Outcome("memory", "")]) is None


def test_a_table_has_the_same_columns_in_each_row() -> None:
    text = table(["what", "µs"], [["a", "1.0"], ["longer", "20.0"]])

    assert text.splitlines() == [
        "| what   |   µs |",
        "| :----- | ---: |",
        "| a      |  1.0 |",
        "| longer | 20.0 |",
    ]


def test_a_bar_is_as_long_as_its_figure_and_every_name_is_there() -> None:
    chart = bars(
        "log-ins & more", [("ours <fast>", Figure(200, 190, 210), True), ("theirs", Figure(100, 90, 110), False)]
    )

    root = ElementTree.fromstring(chart)
    widths = [float(each.attrib["width"]) for each in root.iter() if "bar" in each.attrib.get("class", "")]
    said = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert {"log-ins & more", "ours <fast>", "theirs", "200", "100"} <= set(said)


def test_a_line_rises_where_its_cost_does() -> None:
    series = [("level", [(1.0, 5.0), (1000.0, 5.0)]), ("rising", [(1.0, 5.0), (1000.0, 50.0)])]

    root = ElementTree.fromstring(lines("growth", "µs", series))

    heights = [float(each.attrib["cy"]) for each in root.iter() if each.tag.endswith("circle")]
    assert heights[0] == heights[1] == heights[2]
    assert heights[3] < heights[2]


def test_a_chart_has_colours_for_light_and_dark_and_a_ground_of_its_own() -> None:
    chart = bars("a chart", [("ours", Figure(1, 1, 1), True)])

    light, dark = chart.split("prefers-color-scheme: dark")
    grounds = [re.findall(r"\.ground \{ fill: (#\w+)", part) for part in (light, dark)]
    assert all(len(each) == 1 for each in grounds)
    assert grounds[0] != grounds[1]
    assert 'class="ground"' in chart


def test_a_cost_that_grows_with_the_size_is_not_level() -> None:
    loop = Line("loop", "state", {1: 20.0, 100: 25.0, 1000: 70.0})
    dictionary = Line("dictionary", "state", {1: 20.0, 100: 21.0, 1000: 24.0})

    assert loop.exponent > 0.25 > dictionary.exponent


def test_random_arrivals_come_as_often_as_even_ones() -> None:
    even, at_random = (due(20_000, 1000, arrivals) for arrivals in ("even", "random"))

    assert even[-1] == pytest.approx(20, rel=0.01)
    assert at_random[-1] == pytest.approx(20, rel=0.05)
    assert sorted(at_random) == at_random


def test_only_what_is_between_the_marks_changes() -> None:
    page = "before\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nafter\n"

    assert between_marks(page, {"a": "new"}) == "before\n<!-- bench:a -->\nnew\n<!-- /bench:a -->\nafter\n"
    with pytest.raises(BenchmarkError):
        between_marks(page, {"b": "new"})


def test_the_page_has_a_place_for_everything_that_is_measured(tmp_path: Path) -> None:
    from benchmarks.__main__ import NAMES

    (tmp_path / "performance.md").write_text((ROOT / "docs" / "performance.md").read_text())
    chart = bars("a chart", [("ours", Figure(1, 1, 1), True)])
    outcomes = [Outcome(name, f"text of {name}", {f"{name}.svg": chart}, [Aim(name, "1", "1", True)]) for name in NAMES]

    write(tmp_path, outcomes, "made by a test", "this machine")

    page = (tmp_path / "performance.md").read_text()
    assert all(f"text of {name}" in page and f"(images/{name}.svg)" in page for name in NAMES)
    assert page.count("made by a test") == len(NAMES) + 1  # and the table of bars
    assert page.count("Measured on this machine.") == 1
    assert (tmp_path / "images" / "logins.svg").read_text() == chart


def test_the_others_run_under_the_same_server_as_ours() -> None:
    pins = [dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / name).read_text(), re.MULTILINE)) for name in
            ("benchmarks/peers.txt", "constraints.txt")]  # fmt: skip
    theirs, ours = ({name.lower(): version for name, version in each.items()} for each in pins)

    for name in ("uvicorn", "uvloop", "httptools", "h11", "gssapi", "gunicorn", "starlette"):
        assert theirs[name] == ours[name], name
