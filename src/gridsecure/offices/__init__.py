"""The two opening offices: what each computes and checks for itself, on its own machine."""
