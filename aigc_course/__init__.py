"""The helper package of AIGC Course: one module a model family, each to be read from top to bottom."""

import os

# Without this, products of matrices on a GPU may differ from run to run. cuBLAS reads it at the first product of a
# process, so Lightning, which sets it when a trainer is made, may come too late. A value that the user has set stays.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

__version__ = "0.1.0"
