"""climb-hf."""

from climb_hf._version import __version__
