"""Names of the topics in bags of lb_ros."""

from __future__ import annotations

from encoders.modalities import MODALITIES, SENSED

TRUTH_TOPIC = 'ground_truth/predicates'
REGION_TOPIC = 'ground_truth/regions'
TOPICS = {name: MODALITIES[name].topics for name in SENSED}
