"""The gridsecure command."""
