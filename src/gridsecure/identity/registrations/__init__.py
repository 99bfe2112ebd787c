"""Pseudonyms: what is registered, vouched for, revoked and opened. No name comes here."""
