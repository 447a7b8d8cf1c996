"""One of two processes of torch.distributed: `python two_workers.py FILE FUNCTION RANK FOLDER`.

Calls FUNCTION of the test file with its rank and the folder, and leaves the tensors that it returns in FOLDER/RANK.pt.
"""

import importlib.util
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist


def main(file: str, function: str, rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("in_worker", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["in_worker"] = module
    spec.loader.exec_module(module)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    torch.save(getattr(module, function)(rank, folder), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
