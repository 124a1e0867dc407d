"""A small Rescale of our own, for the demo and the tests.

It answers as the real service does, as far as that is known: same paths, fields, pages, quirks and
errors. It runs the commands of jobs for real, on this machine, as the user who started it; it keeps
files, jobs and checksums in its data folder; and it misbehaves when told to.

It knows nothing of our client: the wire format is written here a second time, so that a field misread in one
place is noticed in the other.
"""

from rescalefs.simulator.faults import Fault
from rescalefs.simulator.seed import SeedFile
from rescalefs.simulator.server import Simulator, serve
from rescalefs.simulator.settings import CannotServe, SimulatorSettings

__all__ = ["CannotServe", "Fault", "SeedFile", "Simulator", "SimulatorSettings", "serve"]
