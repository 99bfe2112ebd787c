"""A customer's own side: bills that are opened here, compared, asked about, and shown in a page."""
