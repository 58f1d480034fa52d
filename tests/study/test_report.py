"""Means, deviations and findings, counted by hand."""

import pytest

from xseg.study import Result, Run, Study
from xseg.study.report import cells, finding, markdown, report_of
from xseg.study.running import Cost


def run(seed, *values, diverged=""):
    rows = [dict(step=10 * (i + 1), seconds=2.0 * (i + 1), top1=value) for i, value in enumerate(values)]
    return Run(seed, rows, diverged)


def result(name, *finals):
    return Result(name, Cost(1_234_567, 0.5), [run(seed, final) for seed, final in enumerate(finals)])


STUDY = Study("s", "Is a better?", "cpu", "c.py", {}, {"a": {}, "b": {}}, (0, 1, 2), better=(("a", "b"),))


def test_mean_and_sample_standard_deviation():
    """80, 82, 84: mean 82, deviations -2, 0, 2, so sqrt(8 / 2)."""
    assert result("a", 80.0, 82.0, 84.0).mean_std("top1") == (82.0, 2.0)
    assert result("a", 80.0).mean_std("top1") == (80.0, None)
    assert Result("a", Cost(1, 1), [run(0, diverged="NaN")]).mean_std("top1") == (None, None)


def test_steps_per_second_leave_slow_intervals_out():
    """10 steps in 2 s, in 2 s and, disturbed, in 20 s: the median is 5 per second."""
    rows = [dict(step=10, seconds=2.0), dict(step=20, seconds=4.0), dict(step=30, seconds=24.0)]
    assert Run(0, rows).steps_per_s == 5.0
    assert Run(0, [], "NaN").steps_per_s is None


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ((80.0, 82.0, 84.0), (70.0, 72.0, 74.0), "+10.00 top1, more than the spread of the seeds (2.83): as the paper"),
        ((80.0, 82.0, 84.0), (78.0, 80.0, 82.0), "+2.00 top1, within the spread of the seeds (2.83): neither shown"),
        ((70.0, 72.0, 74.0), (80.0, 82.0, 84.0), "-10.00 top1, more than the spread of the seeds (2.83): this CONTRA"),
        ((80.0,), (70.0,), "one seed has no spread"),
    ],
)
def test_findings_weigh_the_difference_against_the_spread(a, b, verdict):
    assert verdict in finding(STUDY, result("a", *a), result("b", *b))


def test_a_variant_that_diverged_is_not_compared():
    diverged = Result("b", Cost(1, 1), [run(seed, 25.0, diverged="loss nan") for seed in range(3)])
    assert "only a trained to the end" in finding(STUDY, result("a", 80.0, 82.0), diverged)
    assert finding(STUDY, diverged, diverged).endswith("not comparable, both diverged")
    assert cells(report_of(STUDY, [result("a", 80.0), diverged])["rows"][1])[-2:] == ["diverged", "3, 3 diverged"]


def test_markdown():
    text = markdown(report_of(STUDY, [result("a", 80.0, 82.0, 84.0), result("b", 70.0)]))
    assert "| a | 1,234,567 | 0.5 | 5.00 | 82.00 ± 2.00 | 3 |" in text
    assert "| b | 1,234,567 | 0.5 | 5.00 | 70.00 | 1 |" in text
    assert "`xseg study s --size cpu`, config c, 10 steps, seeds 0, 1, 2" in text
