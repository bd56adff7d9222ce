"""From messages to arrays, without ROS: any object with a message's fields will do.

The same functions serve live nodes (rclpy messages) and bags (rosbags messages).
"""

from encoders.decode.audio import AudioOptions, DecodedAudio, decode_audio
from encoders.decode.errors import DecodeError
from encoders.decode.image import DecodedImage, decode_image
from encoders.decode.options import ImageOptions
from encoders.decode.temperature import Objection, temperature_objection

__all__ = [
    'AudioOptions',
    'DecodeError',
    'DecodedAudio',
    'DecodedImage',
    'ImageOptions',
    'Objection',
    'decode_audio',
    'decode_image',
    'temperature_objection',
]
