"""The books: who holds each meter point under which contract, and which meter is there, by date."""
