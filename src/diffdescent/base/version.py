"""The version, from one place: the package, its records and the distribution read it here."""

__version__ = "0.1.0"
