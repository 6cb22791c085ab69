"""Certificates of our own, for a network that no public authority reaches."""
