"""Scores of answers and classifications, made for per-domain tables."""
