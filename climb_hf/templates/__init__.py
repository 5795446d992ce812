"""Templates of cards, as package data."""
