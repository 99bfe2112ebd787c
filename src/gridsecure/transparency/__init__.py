"""Transparency logs as C2SP specifies them: tree, tiles, signed notes, checkpoints, proofs."""
