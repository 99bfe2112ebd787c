"""GridSecure: exact electricity bills computed on encrypted meter readings."""

__version__ = "0.1.0"
