"""Readings as meter-data systems send them: sources, their batches, and the receipts they get."""
