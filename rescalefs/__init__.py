"""Your Rescale account as a folder."""

__version__ = "0.1.0"
