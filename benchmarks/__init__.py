"""How fast it is, measured against others on one machine: `make bench` (see docs/performance.md)."""
