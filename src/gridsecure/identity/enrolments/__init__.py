"""Names: who was enrolled, with which key, by which books. No pseudonym comes here."""
