"""What a step of whitened Adam holds beside the memories, their gradient and its moments.

python docs/experiments/whitened_memory.py --clips 100
"""

from __future__ import annotations

import argparse
import resource

import torch

from engine.distilling.optimisers import WhitenedAdam, Whitening

SHAPE = (16, 3, 112, 112)


def main() -> None:
    """Take one step, and print how far the most memory of the process rose in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100, help="of 16 x 112 x 112")
    memories = torch.zeros(parser.parse_args().clips, 1, *SHAPE, requires_grad=True)
    memories.grad = torch.randn(memories.shape)
    whitening = Whitening.of([torch.randn(2, *SHAPE)], (-4, -2, -1))
    optimiser = WhitenedAdam([{"params": [memories], "lr": 0.1, "whitening": whitening}])
    moments = {name: torch.ones_like(memories) for name in ("exp_avg", "exp_avg_sq")}
    optimiser.state[memories].update({"step": torch.zeros(()), **moments})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    optimiser.step()
    risen = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{memories.nbytes / 2**20:.0f} MiB of memories; a step holds {risen:.0f} MiB beside them")  # noqa: T201


if __name__ == "__main__":
    main()
