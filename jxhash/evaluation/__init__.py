"""Encoding splits, measuring them under a named protocol, and the report of a run."""
