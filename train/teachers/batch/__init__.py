"""A teacher asked through OpenAI's Batch API."""
