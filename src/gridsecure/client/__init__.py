"""For programs that work with GridSecure: meter-data systems and analysts, sync and async."""
