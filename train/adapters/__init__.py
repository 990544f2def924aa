"""Adapters: trained, merged, compared by rank."""
