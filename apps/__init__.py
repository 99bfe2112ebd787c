"""The running applications: a service per trust zone, dashboard, command line, simulator."""
