"""`python -m pretrain` and the `pretrain` command."""

import os
import sys


def main() -> None:
    # Threads that wait for each other spin by default. Where anything else runs beside, they burn
    # the core the other one needs: steps took up to three times as long (docs/LOG.md); on a quiet
    # machine nothing is lost. OpenMP reads this once, when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from pretrain.cli import command

    sys.exit(command(sys.argv[1:]))


if __name__ == "__main__":
    main()
