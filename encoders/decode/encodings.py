"""Table of raw image encodings, with the names of sensor_msgs/image_encodings.hpp and drivers."""

from __future__ import annotations

import cv2

# Encoding -> (dtype, channels).
RAW_ENCODINGS: dict[str, tuple[str, int]] = {
    'rgb8': ('u1', 3), 'bgr8': ('u1', 3), 'rgba8': ('u1', 4), 'bgra8': ('u1', 4),
    'rgb16': ('u2', 3), 'bgr16': ('u2', 3), 'rgba16': ('u2', 4), 'bgra16': ('u2', 4),
    '8UC3': ('u1', 3), '8UC4': ('u1', 4), 'mono8': ('u1', 1), '8UC1': ('u1', 1),
    'mono16': ('u2', 1), '16UC1': ('u2', 1), '32FC1': ('f4', 1), '64FC1': ('f8', 1),
    'yuv422': ('u1', 2), 'uyvy': ('u1', 2), 'yuv422_yuy2': ('u1', 2), 'yuyv': ('u1', 2),
    'bayer_rggb8': ('u1', 1), 'bayer_bggr8': ('u1', 1),
    'bayer_gbrg8': ('u1', 1), 'bayer_grbg8': ('u1', 1),
    'bayer_rggb16': ('u2', 1), 'bayer_bggr16': ('u2', 1),
    'bayer_gbrg16': ('u2', 1), 'bayer_grbg16': ('u2', 1),
    'nv12': ('u1', 1), 'nv21': ('u1', 1),
}  # fmt: skip
# The luma plane is followed by half as many rows of chroma at a quarter of the resolution.
PLANAR = ('nv12', 'nv21')
# 8UC3 and 8UC4 have OpenCV's channel order, BGR.
TO_RGB: dict[str, int] = {
    'bgr8': cv2.COLOR_BGR2RGB, '8UC3': cv2.COLOR_BGR2RGB, 'bgr16': cv2.COLOR_BGR2RGB,
    'rgba8': cv2.COLOR_RGBA2RGB, 'bgra8': cv2.COLOR_BGRA2RGB, '8UC4': cv2.COLOR_BGRA2RGB,
    'rgba16': cv2.COLOR_RGBA2RGB, 'bgra16': cv2.COLOR_BGRA2RGB,
    'mono8': cv2.COLOR_GRAY2RGB, '8UC1': cv2.COLOR_GRAY2RGB, 'mono16': cv2.COLOR_GRAY2RGB,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY, 'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2, 'yuyv': cv2.COLOR_YUV2RGB_YUY2,
    # OpenCV names a Bayer pattern by its second row, ROS by its first row.
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB, 'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB, 'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
    'bayer_rggb16': cv2.COLOR_BayerBG2RGB, 'bayer_bggr16': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg16': cv2.COLOR_BayerGR2RGB, 'bayer_grbg16': cv2.COLOR_BayerGB2RGB,
    'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21,
}  # fmt: skip
# By the content of a modality's images.
ACCEPTED: dict[str, tuple[str, ...]] = {
    'colour': ('rgb8', 'rgb16', *TO_RGB),
    'depth': ('16UC1', '32FC1', '64FC1'),
    'infrared': ('mono8', '8UC1', 'mono16', '16UC1', '32FC1'),
}
