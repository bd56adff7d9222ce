#!/usr/bin/env bash
# All measurements on a GPU in one command and less than nine minutes, on a machine with PyTorch.
#
#   benchmarks/gpu.sh                        everything, into runs/gpu (gpu.json, gpu.csv)
#   benchmarks/gpu.sh --stages engine-vit-l-14-bf16 memory
#   benchmarks/gpu.sh --rehearse             the same stages on the CPU with tiny models
#
# Packages that are missing are installed into build/gpu_packages, from the wheels in the folder WHEELS if it is
# set, so that the machine needs no network (requirements/gpu.txt lists them and how to fetch them). PYTHON
# chooses the interpreter with PyTorch. Every stage is a process with a time limit of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
target=$PWD/build/gpu_packages
export PYTHONPATH=$target:$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1

"$python" -c 'import torch' || { echo "gpu.sh: $python has no PyTorch; set PYTHON" >&2; exit 2; }
missing=$(mktemp)
trap 'rm -f "$missing"' EXIT
"$python" -m benchmarks.gpu_packages > "$missing"
if [ -s "$missing" ]; then
  echo "gpu.sh: installing $(tr '\n' ' ' < "$missing")" >&2
  source=()
  if [ -n "${WHEELS:-}" ]; then source=(--no-index --find-links "$WHEELS"); fi
  # Without dependencies, so that PyTorch and NumPy stay as they are. Stages report what is still missing.
  "$python" -m pip install --quiet --no-deps --target "$target" "${source[@]}" -r "$missing" >&2 \
    || echo 'gpu.sh: not all packages were installed' >&2
fi
"$python" -m benchmarks.gpu "$@"
