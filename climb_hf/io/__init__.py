"""Readers of file formats: paths in, arrays out. No label, split or question is known here."""
