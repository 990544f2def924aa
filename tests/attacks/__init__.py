"""Hostile clients, bounded in number and time, against a server on this machine; see docs/security.md."""
