"""What the simulated service sells: hardware, software, prices, projects. Made up, in a real shape."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_EVEN = (2, 4, 8, 16, 32, 64, 96, 128)
_PLAIN = (1, 2, 4, 8)
_ANY_18 = (*range(1, 19), 36, 54, 72)


@dataclass(frozen=True, slots=True)
class CoreKind:
    """A core type: which counts of cores it offers, and what one costs per hour."""

    code: str
    cores: tuple[int, ...]
    category: str
    price: Decimal  # on demand, linux
    processor: str
    memory: int  # MB per core
    storage: int  # GB per core
    is_deprecated: bool = False

    @property
    def name(self) -> str:
        """What people call it."""
        return self.code.replace("-", " ").title()

    def offers(self, cores: int) -> bool:
        """Whether a job may ask for so many cores: a count of one node, or several of the largest nodes."""
        return cores in self.cores or cores % max(self.cores) == 0

    def nodes(self, cores: int) -> int:
        """How many nodes so many cores are."""
        return -(-cores // max(self.cores))

    def gpus(self, cores: int) -> int:
        """How many GPUs come with so many cores of one node."""
        return self.cores.index(cores) + 1 if self.category == "gpu" and cores in self.cores else 0


def _kind(code: str, cores: tuple[int, ...], category: str, price: str, **more: Any) -> CoreKind:
    facts = {"processor": "Intel Xeon, 3.0 GHz", "memory": 4000, "storage": 30, **more}
    return CoreKind(code, cores, category, Decimal(price), **facts)


# Three pages of ten. granite is the cheapest `general` one on demand; topaz, not `general`, costs less.
CORE_TYPES: tuple[CoreKind, ...] = (
    _kind("emerald", (1, 2, 4, 8, 16, 18, 36, 72), "general", "0.0510"),
    _kind("granite", _EVEN, "general", "0.0290", processor="AMD EPYC, 2.6 GHz"),
    _kind("onyx", _ANY_18, "general", "0.0550", processor="Intel Xeon E5-2666 v3, 2.9 GHz", memory=3300),
    _kind("standard-plus", _PLAIN, "general", "0.0480"),
    _kind("nickel", (1, 2, 4, 8, 16), "general", "0.0620", is_deprecated=True),
    _kind("topaz", _PLAIN, "economy", "0.0150", memory=2000, storage=10),
    _kind("amber", _EVEN, "high-memory", "0.1240", memory=16000),
    _kind("basalt", _EVEN, "high-memory", "0.1310", memory=32000),
    _kind("beryl", (4, 8, 16, 32), "gpu", "0.9000", processor="Intel Xeon with NVIDIA V100"),
    _kind("calcite", _EVEN, "compute", "0.0710"),
    _kind("carbon", (36, 72, 144), "high-interconnect", "0.0830"),
    _kind("citrine", _PLAIN, "general", "0.0530"),
    _kind("copper", _PLAIN, "general", "0.0570"),
    _kind("diamond", (24, 48, 96), "high-interconnect", "0.0990"),
    _kind("dolomite", (6, 12, 24), "gpu", "0.7400", processor="AMD EPYC with NVIDIA T4"),
    _kind("ferrite", _EVEN, "compute", "0.0680"),
    _kind("gold", (20, 40), "high-interconnect", "0.1050"),
    _kind("hematite", _EVEN, "compute", "0.0640"),
    _kind("iron", _PLAIN, "general", "0.0590"),
    _kind("jade", (44, 88, 176), "high-interconnect", "0.0870"),
    _kind("luna", (60, 120, 240), "high-interconnect", "0.0790"),
    _kind("marble", _EVEN, "general", "0.0340"),
    _kind("obsidian", (12, 24), "gpu", "1.1000", processor="AMD EPYC with NVIDIA A100"),
    _kind("quartz", _EVEN, "compute", "0.0660"),
)
CORE_TYPES_BY_CODE = {kind.code: kind for kind in CORE_TYPES}


@dataclass(frozen=True, slots=True)
class Software:
    """An analysis with its versions: the code that a job names, and the words that people read."""

    code: str
    name: str
    vendor: str
    versions: tuple[tuple[str, str], ...]
    command: str = ""
    own_license: bool = False  # needs a licence that the customer brings


# Two pages and a bit. The jobs run on this machine, so only what is installed here really computes.
ANALYSES: tuple[Software, ...] = (
    Software("user_included", "Bring Your Own Software", "Rescale", (("0", "CPU"),)),
    Software("miniconda", "Miniconda", "Anaconda", (("4.8.4", "4.8.4"),), "python script.py"),
    Software("openfoam", "OpenFOAM", "ESI", (("v2312", "v2312"), ("v2212", "v2212")), "./Allrun"),
    Software("openfoam_plus", "OpenFOAM+", "ESI", (("v1706+", "v1706+"),), "./Allrun"),
    Software("calculix", "CalculiX", "CalculiX", (("2.21", "2.21"), ("2.19", "2.19")), "ccx input"),
    Software("su2", "SU2", "SU2 Foundation", (("7.5.1", "7.5.1"),), "SU2_CFD config.cfg"),
    Software("lammps", "LAMMPS", "Sandia", (("2023.08", "2 Aug 2023"),), "lmp -in in.lj"),
    Software("gromacs", "GROMACS", "GROMACS", (("2023.3", "2023.3"),), "gmx mdrun -s topol.tpr"),
    Software("namd", "NAMD", "University of Illinois", (("2.14", "2.14"),), "namd2 input.namd"),
    Software("code_aster", "Code_Aster", "EDF", (("15.6", "15.6"),), "as_run study.export"),
    Software("code_saturne", "Code_Saturne", "EDF", (("7.0", "7.0"),), "code_saturne run"),
    Software("elmer", "Elmer FEM", "CSC", (("9.0", "9.0"),), "ElmerSolver case.sif"),
    Software("gmsh", "Gmsh", "Gmsh", (("4.12", "4.12"),), "gmsh -3 model.geo"),
    Software("julia", "Julia", "Julia", (("1.9.3", "1.9.3"),), "julia script.jl"),
    Software("octave", "GNU Octave", "GNU", (("8.4.0", "8.4.0"),), "octave script.m"),
    Software("paraview", "ParaView", "Kitware", (("5.11", "5.11"),), "pvbatch script.py"),
    Software("quantum_espresso", "Quantum ESPRESSO", "QE Foundation", (("7.2", "7.2"),), "pw.x -in scf.in"),
    Software("wrf", "WRF", "UCAR", (("4.5", "4.5"),), "./wrf.exe"),
    Software("abaqus", "Abaqus", "Dassault Systèmes", (("2023", "2023"),), "abaqus job=input", True),
    Software("adams", "Adams", "Hexagon", (("2023_1", "2023.1"),), "mdi -c ru-s i", True),
    Software("ansys_fluent", "Ansys Fluent", "Ansys", (("2023r2", "2023 R2"),), "fluent 3ddp -g", True),
    Software("ls-dyna", "LS-DYNA", "Ansys", (("13.1.1", "13.1.1"),), "ls-dyna -i input.k", True),
    Software("matlab", "MATLAB", "MathWorks", (("r2023b", "R2023b"),), "matlab -batch run", True),
    Software("star_ccm", "Simcenter STAR-CCM+", "Siemens", (("18.06", "18.06"),), "starccm+ -batch", True),
)
ANALYSES_BY_CODE = {software.code: software for software in ANALYSES}

PROJECTS: tuple[dict[str, Any], ...] = (
    {
        "id": "wGtPc",
        "name": "Wing study",
        "isDefault": True,
        "remainingAmounts": ["All: My budget ($100.00 available)"],
    },
    {"id": "hXqBd", "name": "Heat exchangers", "isDefault": False, "remainingAmounts": []},
)

CURRENCY = "USD"


def core_type_documents() -> list[dict[str, Any]]:
    """`coretypes/`, as the service shows it."""
    return [
        {
            "code": kind.code,
            "name": kind.name,
            "description": f"{kind.name}: {kind.processor}",
            "cores": list(kind.cores),
            "gpuCounts": [kind.gpus(cores) for cores in kind.cores],  # parallel to `cores`
            "categoryCodes": [kind.category],
            "processorInfo": kind.processor,
            "baseClockSpeed": kind.processor.rsplit(", ", 1)[-1],
            "memory": kind.memory,
            "storage": kind.storage,
            "price": float(kind.price),
            "lowPriorityPrice": str(_low_priority(kind)),
            "isDeprecated": kind.is_deprecated,
            "isActive": not kind.is_deprecated,
            "isPrimary": order < 4,
            "walltimeRequired": False,
            "hasSsd": True,
            "io": "standard",
            "compute": "high" if kind.category == "compute" else "standard",
            "displayOrder": order,
        }
        for order, kind in enumerate(CORE_TYPES)
    ]


def price_documents() -> list[dict[str, Any]]:
    """`billing/computeprices/`: among them cheaper ones that are inactive, low priority, or not for linux."""
    return [price for kind in CORE_TYPES for price in _prices(kind)]


def analysis_documents() -> list[dict[str, Any]]:
    """`analyses/`, as the service shows it."""
    return [
        {
            "code": software.code,
            "name": software.name,
            "description": f"<p>{software.name} by {software.vendor}.</p>",
            "vendorName": software.vendor,
            "versions": [
                {
                    "id": f"{software.code}-{code}",
                    "version": shown,
                    "versionCode": code,
                    "allowedCoreTypes": [kind.code for kind in CORE_TYPES if not kind.is_deprecated],
                    "stdCommand": software.command,
                    "mpiCommand": software.command and f"mpirun {software.command}",
                    "smpCommand": software.command,
                    "eula": None,
                    "mustBeRequested": False,
                }
                for code, shown in software.versions
            ],
            "licenseSettings": [{"name": "LICENSE_FILE", "label": "License"}] if software.own_license else [],
            "hasRescaleLicense": not software.own_license,
            "industries": [],
            "thumbnail": f"https://simulator.example/thumbnails/{software.code}.png",
        }
        for software in ANALYSES
    ]


def _low_priority(kind: CoreKind) -> Decimal:
    return (kind.price / 2).quantize(Decimal("0.0001"))


def _prices(kind: CoreKind) -> list[dict[str, Any]]:
    plans = (
        ("on-demand", "linux", not kind.is_deprecated, kind.price),
        ("on-demand", "linux", False, kind.price / 10),  # last year's, never meant to come back
        ("on-demand", "windows", not kind.is_deprecated, kind.price + Decimal("0.02")),
        ("economy", "linux", not kind.is_deprecated, _low_priority(kind)),
        ("pro-on-demand", "linux", not kind.is_deprecated, kind.price + Decimal("0.01")),
    )
    return [
        {
            "coreType": kind.code,
            "planType": plan,
            "os": os,
            "isActive": is_active,
            "value": {"amount": f"{amount:.4f}", "currency": CURRENCY},
        }
        for plan, os, is_active, amount in plans
    ]
