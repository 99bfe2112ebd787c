"""Release policy as data: what may be released to whom, of how many customers at the least."""
