"""What is rendered is read back as the text format of Prometheus defines it, version 0.0.4."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.metrics import CONTENT_TYPE, Metric, render

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"


def unescape(text: str) -> str:
    """Return the HELP text that was written as text; fail for an escape there is not."""
    assert re.fullmatch(r"([^\\]|\\\\|\\n)*", text)
    return re.sub(r"\\(.)", lambda match: {"\\": "\\", "n": "\n"}[match[1]], text)


def parse(text: str) -> list[Metric]:
    """Return the metrics in text: for each name a HELP line, a TYPE line and one sample."""
    assert text == "" or text.endswith("\n")
    metrics = []
    lines = text.split("\n")[:-1]
    for help_line, type_line, sample in zip(*(iter(lines),) * 3, strict=True):
        helped = re.fullmatch(rf"# HELP ({NAME}) (.*)", help_line, re.DOTALL)
        typed = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", type_line)
        sampled = re.fullmatch(rf"({NAME}) (\S+)", sample)
        assert helped
        assert typed
        assert sampled
        assert helped[1] == typed[1] == sampled[1]
        metrics.append(Metric(helped[1], typed[2], unescape(helped[2]), float(sampled[2])))
    return metrics


def test_a_metric_is_three_lines():
    text = render([Metric("gateway_sessions", "gauge", "Sessions on all transports", 3)])
    assert text == (
        "# HELP gateway_sessions Sessions on all transports\n"
        "# TYPE gateway_sessions gauge\n"
        "gateway_sessions 3\n"
    )


def test_metrics_come_in_their_order_and_none_is_nothing():
    metrics = [Metric("b_total", "counter", "B", 1), Metric("a", "gauge", "A", 2.5)]
    assert parse(render(metrics)) == metrics
    assert render([]) == ""


def test_line_breaks_and_backslashes_of_a_help_text_are_escaped():
    metric = Metric("a", "gauge", 'one \\n\ntwo "quoted" \\', 0)
    assert render([metric]).split("\n")[0] == r'# HELP a one \\n\ntwo "quoted" \\'
    assert parse(render([metric])) == [metric]


@pytest.mark.parametrize(
    "value", [0, -1, 0.1, 1e22, 1e-7, 2**63, 10**20, math.inf, -math.inf, 5e-324]
)
def test_a_value_of_any_size_is_read_back(value):
    assert parse(render([Metric("a", "gauge", "A", value)]))[0].value == value


def test_the_content_type_names_the_version_of_the_format():
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


@given(
    st.lists(
        st.builds(
            Metric,
            st.sampled_from(["a", "_", "gateway_gaps_total", "A1:b"]),
            st.sampled_from(["counter", "gauge"]),
            st.text(),
            st.floats(allow_nan=False) | st.integers(0, 2**53),
        ),
        max_size=4,
    )
)
def test_any_metrics_are_read_back(metrics):
    assert parse(render(metrics)) == metrics
