"""Tariffs as data: their files, what they mean, and how two versions differ."""
