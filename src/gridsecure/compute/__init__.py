"""The compute platform: registered plans on encrypted columns, transcripts, jobs."""
