"""What is said about the machine, and which of its cores are used."""

import os

from loadtest.compare.machine import describe_machine, find_cpus


def test_server_and_load_are_on_different_cores_where_there_are_two() -> None:
    server, load = find_cpus()
    allowed = os.sched_getaffinity(0)
    assert {*server, *load} <= allowed
    assert (server != load) == (len(allowed) > 1)


def test_on_one_core_they_share_it() -> None:
    before = os.sched_getaffinity(0)
    only = min(before)
    os.sched_setaffinity(0, {only})
    try:
        assert find_cpus() == ([only], [only])
    finally:
        os.sched_setaffinity(0, before)


def test_a_line_says_what_a_figure_was_measured_on() -> None:
    line = describe_machine([0], [1, 2])
    assert f"{os.cpu_count()} core" in line
    assert "Python 3." in line
    assert line.endswith("server on core 0, load on core 1, 2")
