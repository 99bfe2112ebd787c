"""Data products: what they are composed of, what they cost and tell, and what is kept of them."""
