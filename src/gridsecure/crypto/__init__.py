"""Bytes and slots: commercial cryptography (SM2, SM3, SM4) and homomorphic columns.

Pure, and knows nothing of bills.
"""
