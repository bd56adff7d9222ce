"""Robot sensors that answer in words: LanguageBind encoders as ROS 2 nodes.

Importing this package never imports rclpy.
"""

__version__ = '0.1.0'
