"""How fast quantizer, generator and decoder are on a GPU: python tests/benchmarks/gpu.py [--small] [--minutes 6.5] [--seconds 1.0]

Needs a checkout, torch, numpy and pyarrow; of what else the library imports, what is missing is stood in for (bare_python.py). Data are
made and weights are random: speed does not depend on them. Ends within 8 minutes; what there was no time for is left out. Without a GPU,
or with --small, everything is small and takes seconds, and the figures say nothing but that it runs.

Prints a line for each figure as it is found, and at the end all of them as one JSON object:

    matrix_tflops     the card's own rate of large matrix products, by precision
    quantizer         products a second in training and in encoding; same_ids: share that gets the semantic ID of float32
    decoding          a whole request: the prompt is read and its beams searched. constraint_cost: what that takes more than the same decode
                      where everything is allowed; `graph`: the same, captured in one CUDA graph
    training          the generator in bfloat16: a step on a batch that lies on the device, what share of the card's bfloat16 matrix rate
                      its products are, and `loop`: with each batch sampled on the CPU

A part that fails is named under `failures`, with its traceback before; the others go on, and the exit status is 1.
"""

import argparse
import json
import platform
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bare_python import STOOD_IN_FOR, stand_in_for_missing_packages

stand_in_for_missing_packages()
sys.path.append(str(Path(__file__).parents[2] / "platform"))

import gpu_decoding  # noqa: E402
import gpu_generator  # noqa: E402
import gpu_quantizer  # noqa: E402
import torch  # noqa: E402
from device_timing import Clock, matrix_flops, reason  # noqa: E402

Report = dict[str, Any]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Speed of quantizer, generator and decoder on a GPU.")
    parser.add_argument("--small", action="store_true", help="sizes that take seconds on a CPU; always so without a GPU")
    parser.add_argument("--minutes", type=float, default=6.5, help="after which no further figure is begun")
    parser.add_argument("--seconds", type=float, default=1.0, help="that each figure is timed")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = options.small or device.type == "cpu"
    report = measure(device, small, Clock(60 * options.minutes, 0.02 if small else options.seconds))
    print(json.dumps(report))
    sys.exit(bool(report["failures"]))


def measure(device: torch.device, small: bool, clock: Clock) -> Report:
    """All figures."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {platform.machine()}"
    print(f"{name}, torch {torch.__version__}{', small sizes' if small else ''}", flush=True)
    rates = matrix_rates(device, 256 if small else 8192, clock)
    report: Report = {
        "device": name, "torch": torch.__version__, "small": small, "stood_in_for": sorted(STOOD_IN_FOR), "matrix_tflops": rates,
        "quantizer": {"training": [], "encoding": []}, "decoding": [], "training": [], "failures": [],
    }  # fmt: skip

    def of_quantizer() -> Iterator[None]:
        size = gpu_quantizer.SMALL if small else gpu_quantizer.FULL
        for kind, row in gpu_quantizer.measure_quantizer(size, device, clock):
            yield note(report["quantizer"][kind], f"quantizer, {kind}", row, clock)

    def of_decoding() -> Iterator[None]:
        for row in gpu_decoding.measure_decoding(gpu_decoding.SMALL if small else gpu_decoding.FULL, device, clock):
            yield note(report["decoding"], "decoding", row, clock)

    def of_training() -> Iterator[None]:
        size = gpu_generator.SMALL if small else gpu_generator.FULL
        for row in gpu_generator.measure_training(size, device, clock, 1e12 * rates["bfloat16"]):
            yield note(report["training"], "generator, training", row, clock)

    report["failures"] = [failure for part in (of_decoding, of_quantizer, of_training) for failure in attempted(part)]
    return report | {"complete": not clock.over(), "seconds": round(clock.spent(), 1)}


def attempted(part: Callable[[], Iterator[None]]) -> list[str]:
    """Measure a part; why it failed, if it did: a card is lent for minutes, and the other parts should not be lost."""
    try:
        for _ in part():
            pass
    except Exception as error:
        traceback.print_exc()
        return [f"{part.__name__}: {reason(error)}"]
    return []


def matrix_rates(device: torch.device, size: int, clock: Clock) -> Report:
    """TFLOP/s of a large product in each precision; float32 as torch is set by default, without TF32."""
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        precision = str(dtype).removeprefix("torch.")
        rates[precision] = round(matrix_flops(device, dtype, size, clock.each) / 1e12, 4)
        note([], "matrix product", {"precision": precision, "tflops": rates[precision]}, clock)
    return rates


def note(rows: list[Report], kind: str, row: Report, clock: Clock) -> None:
    """Keep a row, and print it in a line."""
    rows.append(row)
    graph = row.get("graph") or {}
    values = {
        **{name: value for name, value in row.items() if name != "graph"},
        **{f"graph {name}": value for name, value in graph.items()},
    }
    print(f"{clock.spent():6.1f} s  {kind}: {', '.join(f'{name} {_readable(value)}' for name, value in values.items())}", flush=True)


def _readable(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
