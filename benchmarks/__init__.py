"""Measurements beside the product: the figures' runner, and those that decisions rest on."""
