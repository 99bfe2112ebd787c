"""What the data market's documents say, and the rules between them; no network, database, clock."""
