"""Restoration methods by name: what makes a sampler answer for a measured image. Importing the
package registers them all."""

from .method import METHODS, Method, method

# isort: split
# What a method's file imports from here stands above; the methods follow.
from .gradient import DPS, MMPS, PiGDM
from .projecting import DDNM, DDRM, POCS, DDNMPlus
from .splitting import ADMM, HQS, DiffPIR, REDDiff
from .text import Conditioned, chained, names_method, parse_method

__all__ = [
    "ADMM",
    "DDNM",
    "DDRM",
    "DPS",
    "HQS",
    "METHODS",
    "MMPS",
    "POCS",
    "Conditioned",
    "DDNMPlus",
    "DiffPIR",
    "Method",
    "PiGDM",
    "REDDiff",
    "chained",
    "method",
    "names_method",
    "parse_method",
]
