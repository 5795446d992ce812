"""The one place that holds the version, readable without importing the package."""

__version__ = "0.1.0"
