"""``python -m dpsynth``: the command line."""

from dpsynth.cli import main

if __name__ == "__main__":
    main()
