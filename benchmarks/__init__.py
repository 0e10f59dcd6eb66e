"""Benchmarks: figures with their ratios against references that run in the same call."""
