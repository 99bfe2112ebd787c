"""Anonymised identity: who appears under which pseudonym."""
