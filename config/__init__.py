"""Settings and network configurations: typed, with units, read from YAML.

Imported by everything else, and so the place where ONNX Runtime is kept quiet: from 1.29 on it
makes up a number for the computer and reports to its makers what it runs, from its own import on.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
