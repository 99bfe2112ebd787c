"""Anonymous credentials: what holders, issuers and verifiers compute. Pure; nothing is kept."""
