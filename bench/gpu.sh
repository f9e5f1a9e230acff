#!/usr/bin/env bash
# All figures on an NVIDIA card in one call of at most ten minutes.
#   bash bench/gpu.sh [FIGURES.json]
# PYTHON=/path/to/python chooses the environment; default: .venv here, else python3.
set -uo pipefail
cd "${BASH_SOURCE[0]%/*}/.." || exit 2

python=${PYTHON:-.venv/bin/python}
if [[ -z ${PYTHON:-} && ! -x $python ]]; then
    python=python3
fi
target=${1:-gpu.json}
missing=0

lacks() {
    echo "missing: $1" >&2
    missing=1
}

has() { # package, what it must say, fix
    "$python" -c "$2" >/dev/null 2>&1 || lacks "$1; $3"
}

command -v nvidia-smi >/dev/null || lacks "nvidia-smi: no NVIDIA driver; install the card's driver"
if ! "$python" -c "" >/dev/null 2>&1; then
    lacks "Python: $python does not run; make .venv, or set PYTHON"
else
    has "a CUDA build of torch" "import torch; assert torch.cuda.is_available()" \
        "see pytorch.org for the one that fits the driver"
    has "onnxruntime-gpu" \
        "import onnxruntime as o; assert 'CUDAExecutionProvider' in o.get_available_providers()" \
        'pip uninstall -y onnxruntime; pip install "onnxruntime-gpu[cuda,cudnn]"'
    has "onnx" "import onnx" "pip install onnx ml_dtypes"
    has "puppetcam's own needs" "import av, cv2, numpy, psutil, tqdm, yaml" "pip install ."
fi
if ((missing)); then
    echo "nothing was measured" >&2
    exit 2
fi

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader
exec timeout 600 "$python" -m bench.gpu --json "$target"
