"""The key authority: a checker that re-executes and a vault that decrypts."""
