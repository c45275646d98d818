"""What a worker records between two samples."""

from loadtest.recorder import Recorder, now_us


def test_a_sample_holds_what_happened_since_the_last() -> None:
    recorder = Recorder()
    recorder.add("deliveries")
    recorder.add("deliveries", 4)
    recorder.latency.record(7, 3)
    first = recorder.take()
    recorder.add("publications")
    second = recorder.take()
    assert (first.counts, first.latency_us) == ({"deliveries": 5}, [(7, 3)])
    assert (second.counts, second.latency_us) == ({"publications": 1}, [])
    assert recorder.take().counts == {}


def test_the_cpu_of_samples_adds_up_to_what_was_used() -> None:
    recorder = Recorder()
    sum(range(3_000_000))
    first = recorder.take()
    second = recorder.take()
    assert first.cpu_s > 0
    assert second.cpu_s < first.cpu_s


def test_the_cpu_of_a_process_that_helps_counts_as_its_own() -> None:
    recorder = Recorder()
    recorder.add_cpu(60.0)
    assert recorder.take().cpu_s >= 60.0
    assert recorder.take().cpu_s < 60.0


def test_the_clock_does_not_go_back() -> None:
    times = [now_us() for _ in range(100)]
    assert times == sorted(times)
