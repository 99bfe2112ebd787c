"""One page a file; each checks the reader's role before it shows anything."""
