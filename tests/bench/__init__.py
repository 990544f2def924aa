"""Benchmarks, run by hand: `python -m tests.bench`, and `python -m tests.bench.by_hand.bench_NAME` for those with a
command of their own. Never part of the test suite."""
