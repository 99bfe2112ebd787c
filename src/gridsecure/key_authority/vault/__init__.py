"""The vault: the one room that holds secret keys and decrypts, on the checker's signed orders."""
