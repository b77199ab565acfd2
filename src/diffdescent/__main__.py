"""``python -m diffdescent``: the command line."""

from diffdescent.apps.cli.app import main

if __name__ == "__main__":
    main()
