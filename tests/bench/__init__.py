"""Benchmarks, run by hand: `python -m tests.bench.bench_NAME`. Never part of the test suite."""
