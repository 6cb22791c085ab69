"""Adapters: one folder per outside thing; no adapter imports another."""
