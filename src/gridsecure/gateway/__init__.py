"""The utility's meter side: formats, rosters, packing, encryption, upload."""
