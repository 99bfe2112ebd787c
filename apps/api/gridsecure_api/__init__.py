"""One FastAPI application per trust zone."""
