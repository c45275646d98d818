"""Jobs: how work is shared, and how options travel."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.job import Job
from loadtest.scenarios.fanout import Options


def make_job(
    worker: int = 0, workers: int = 1, target: str = "ws://127.0.0.1:1/ws", **options: object
) -> Job:
    return Job(
        scenario="fanout",
        target=target,
        dialect="gateway",
        key="k",
        seconds=1.0,
        options=options,
        worker=worker,
        workers=workers,
    )


@given(total=st.integers(0, 1000), workers=st.integers(1, 12))
def test_the_shares_of_all_workers_are_everything_once(total: int, workers: int) -> None:
    shares = [make_job(worker, workers).share(total) for worker in range(workers)]
    assert [number for share in shares for number in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_job_travels_as_json() -> None:
    job = make_job(1, 2, subscribers=7)
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job


def test_options_that_are_not_given_have_their_defaults() -> None:
    assert make_job(subscribers=7).read_options(Options) == Options(subscribers=7)


def test_options_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="subscribers"):
        make_job(subscribers="many").read_options(Options)
