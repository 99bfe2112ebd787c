"""Analysts' questions: what may be asked, of which groups and steps, and what totals answer."""
