"""Rows, content-addressed objects and the evidence log. One database per zone."""
