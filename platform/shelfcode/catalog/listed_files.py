"""Files that are no catalog, such as interactions, judgments and decided labels: found as a catalog's are, and refused without its flag."""

from shelfcode.catalog.source import list_source
from shelfcode.catalog.source_file import SourceFile
from shelfcode.errors import ShelfcodeError


def list_files(url: str) -> list[SourceFile]:
    """The files of a url, in the order in which their rows count.

    Raises:
        ShelfcodeError: nothing is there, or a file is of a format that is not read; without the url.
    """
    try:
        return list_source(url)
    except ShelfcodeError as error:
        # What is said of a catalog's files holds for these, but for the flag, which the caller puts in front.
        raise ShelfcodeError(str(error).removeprefix(f"--catalog {url}: ")) from error
    except OSError as error:
        raise ShelfcodeError(f"it cannot be opened: {' '.join(str(error).split())[:300]}") from error
