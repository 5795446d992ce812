"""Models that climb-hf builds itself; each is an ordinary transformers class."""
