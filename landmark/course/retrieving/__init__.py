"""Retrieval in the course."""
