"""GridSecure: exact electricity bills computed on encrypted meter readings."""
