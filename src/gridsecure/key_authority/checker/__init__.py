"""The checker: re-executes what the platform computed, keeps the ledger, and signs certificates."""
