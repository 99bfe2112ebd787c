"""What services and their clients agree on: how to ask, what comes back, and how errors read."""
