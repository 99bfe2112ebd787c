"""Plaintext truth: readings, periods, tariffs, charges and bills in exact integers. Pure; the oracle for everything encrypted."""
