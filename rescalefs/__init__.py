"""Your Rescale account as a folder."""
