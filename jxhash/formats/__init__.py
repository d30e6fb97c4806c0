"""Reads the files that people have; nothing in them is trusted or executed."""
