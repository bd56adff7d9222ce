"""Names of the topics in bags of lb_ros."""

from __future__ import annotations

from encoders.modalities import MODALITIES

TRUTH_TOPIC = 'ground_truth/predicates'
REGION_TOPIC = 'ground_truth/regions'
# A clip is cut from the images of the camera.
TOPICS = {name: m.topics for name, m in MODALITIES.items() if m.kind != 'clip'}
