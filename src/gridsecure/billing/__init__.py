"""Plaintext truth: readings, periods, tariffs, charges and bills in exact integers.

Pure, and the oracle for everything encrypted.
"""
