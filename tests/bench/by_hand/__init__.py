"""Benchmarks with commands of their own: `python -m tests.bench.by_hand.bench_demo` and its neighbours."""
