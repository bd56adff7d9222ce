"""Messages to arrays, without ROS: any object with the fields of a message is accepted.

Live nodes (rclpy messages) and bag readers (rosbags messages) use the same functions.
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
