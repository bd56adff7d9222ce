# syntax=docker/dockerfile:1
# lb_ros on ROS 2 Jazzy, for x86-64 and arm64, with the commands of README.md ("On a robot").
#
#   docker build -t lb_ros .                              PyTorch for the processor
#   docker build -t lb_ros --build-arg TORCH=cuda .       for NVIDIA GPUs (NVIDIA Container Toolkit on the host)
#   docker buildx build --platform linux/arm64 -t lb_ros .
#   docker build -t lb_ros_camera --target camera .       the driver of RealSense cameras
#
# Not tested: no Docker engine was available. hadolint checks this file, and these commands were run outside of a
# container on x86-64: rosdep install, robot.sh cpu and colcon build (see docs/robot.md).

ARG ROS=ros:jazzy-ros-base

# hadolint ignore=DL3006
FROM ${ROS} AS camera
# The distribution's current release of the driver; its versions differ between x86-64 and arm64.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ros-jazzy-realsense2-camera \
    && rm -rf /var/lib/apt/lists/*
# The user `ubuntu`, as for the nodes, because Fast DDS shares memory only between processes of one user.
USER 1000:1000
ENTRYPOINT ["/bin/bash", "-c", ". /opt/ros/jazzy/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "realsense2_camera", "rs_launch.py"]

# hadolint ignore=DL3006
FROM ${ROS} AS nodes
ARG TORCH=cpu
# Outside of the workspace, so that changes of the sources keep it. Read by robot.sh and colcon build.
ENV LB_ROS_VENV=/opt/lb_ros \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /ws

# Layers that are large and rarely change: packages of apt, then PyTorch.
COPY package.xml src/lb_ros/
# hadolint ignore=DL3008,SC1091
RUN apt-get update \
    && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src -y --rosdistro jazzy \
    && apt-get install -y --no-install-recommends libportaudio2 \
    && rm -rf /var/lib/apt/lists/*
COPY requirements src/lb_ros/requirements
COPY scripts/robot.sh src/lb_ros/scripts/
# hadolint ignore=SC1091
RUN . /opt/ros/jazzy/setup.bash && src/lb_ros/scripts/robot.sh "${TORCH}" && rm -rf /root/.cache

COPY . src/lb_ros
# hadolint ignore=SC1091
RUN . /opt/ros/jazzy/setup.bash && colcon build --packages-select lb_ros && rm -rf build log

USER 1000:1000
ENTRYPOINT ["/bin/bash", "-c", ". /ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "lb_ros", "bringup.launch.py"]
