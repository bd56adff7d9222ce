"""Robot sensors that answer in words: LanguageBind encoders as ROS 2 nodes.

Importing this package never imports rclpy.
"""

from pkgutil import extend_path

# The generated messages are in the installed package even if this one is the source tree.
__path__ = extend_path(__path__, __name__)
__version__ = '0.1.0'
