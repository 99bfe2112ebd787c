"""Statements: a customer's bill with every figure explained, in Chinese or English, HTML or PDF."""
