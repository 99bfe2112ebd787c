"""What `gridsecure bench` measures: the product's figures, each with its unit and its limit."""
