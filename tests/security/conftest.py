"""A mounted account, and a second user of this machine."""

from __future__ import annotations

from tests.mounted.account import account, pi_job

__all__ = ["account", "pi_job"]
