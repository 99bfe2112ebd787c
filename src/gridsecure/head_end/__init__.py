"""Client of the ingestion API, for meter-data systems: head-ends, collection systems, partners."""
