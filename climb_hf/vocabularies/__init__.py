"""Class lists and code tables, as package data read by `climb_hf.labels`."""
