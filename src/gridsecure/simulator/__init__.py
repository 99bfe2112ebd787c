"""Deterministic synthetic meters for demonstrations, tests and benchmarks."""
