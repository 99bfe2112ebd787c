"""The registered computations. Pure; the platform runs them, and the checker runs them again."""
