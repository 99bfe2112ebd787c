"""The running applications: one FastAPI app per trust zone, the dashboard, the command line, the simulator."""
