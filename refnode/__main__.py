"""python -m refnode: the command line."""

from refnode.cli import main

if __name__ == "__main__":
    main(prog_name="python -m refnode")
