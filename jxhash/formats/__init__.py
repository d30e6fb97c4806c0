"""Readers of files from strangers; nothing in such a file is trusted or executed."""

from jxhash.formats.mat import open_mat
from jxhash.formats.opening import ONLY, SUFFIXES, find, listed, open_file, split_reference, whole
from jxhash.formats.stored import Entry, Stored, Texts

__all__ = [
    "ONLY",
    "SUFFIXES",
    "Entry",
    "Stored",
    "Texts",
    "find",
    "listed",
    "open_file",
    "open_mat",
    "split_reference",
    "whole",
]
