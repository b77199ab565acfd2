"""``python -m diffdescent.train CONFIG``: the train command as a module, as ``accelerate launch
-m`` takes it."""

from __future__ import annotations

import sys

from diffdescent.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
