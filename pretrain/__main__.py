"""`python -m pretrain` and the `pretrain` command."""

import sys


def main() -> None:
    from pretrain.cli import command

    sys.exit(command(sys.argv[1:]))


if __name__ == "__main__":
    main()
