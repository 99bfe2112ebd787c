"""Bytes and slots: commercial cryptography (SM2, SM3, SM4) and homomorphic columns. Pure; knows nothing of bills."""
