"""The reader of releases: a client for dashboards and analysts."""
