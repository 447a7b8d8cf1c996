"""The version of this library, also where it runs from an uploaded copy of its sources, of which no package manager knows."""

LIBRARY_VERSION = "0.1.0"
