"""Exact arithmetic on encrypted integers: parameters, keys, columns, thresholds."""
