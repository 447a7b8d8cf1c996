"""The mean of two students' weights, as a student: python tests/benchmarks/mean_of_weights.py FIRST SECOND --out FOLDER

Both are folders of models of one shape and one vocabulary: one student taught twice. "Robust fine-tuning of zero-shot models",
Wortsman et al. 2022. What comes of it is judged by extraction_quality.py --model FOLDER.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from shelfcode.attributes.distil.student import check_place, load_base, place_student


@torch.no_grad()
def main(first: Path, second: Path, out: Annotated[Path, typer.Option(help="Folder for the model.")]) -> None:
    """Write the mean."""
    check_place(out)
    (one, its_tokenizer), (other, tokenizer) = load_base(str(first)), load_base(str(second))
    if its_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise typer.BadParameter(f"{first} and {second} have different vocabularies: their weights have no mean")
    for weight, beside in zip(other.parameters(), one.parameters(), strict=True):
        weight.copy_((weight + beside) / 2)
    place_student(out, other, tokenizer)


if __name__ == "__main__":
    typer.run(main)
