"""Names of the suites of scenes."""

from __future__ import annotations

METAWORLD = 'metaworld'
TRAINING_SUITES = ('libero_90', 'libero_spatial', 'libero_object')
EVALUATION_SUITES = ('libero_goal', 'libero_10')
CONTACT, CONTACT_EVALUATION = 'contact', 'contact_eval'
CONTACT_SUITES = (CONTACT, CONTACT_EVALUATION)
ALL_SUITES = (*TRAINING_SUITES, *EVALUATION_SUITES, METAWORLD, *CONTACT_SUITES)
