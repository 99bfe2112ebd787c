"""The import of tariffs from the U.S. Utility Rate Database."""
