"""Builds the objects and plugs them together; nothing else does.

A module for each thing that a command may want, because they need very different libraries: `client` for
commands that only ask, `folder` for a submission without a mount, `daemon` for a mount.
"""
