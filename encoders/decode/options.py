"""Properties of images that messages do not contain and users must set."""

from __future__ import annotations

from dataclasses import dataclass

THERMAL, NEAR = 'thermal', 'near_infrared'
INFRARED_KINDS = (THERMAL, NEAR)
CENTIKELVIN = 0.01


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Interpretation of images whose encoding is ambiguous.

    Attributes:
        mono16_is_depth: Interpret `mono16` as depth in millimetres; grey cameras also use it.
        infrared_kind: `thermal` (heat, long wave) or `near_infrared` (reflected light, as in a
            grey photograph; does not show heat).
        kelvin_per_count: Kelvin per 16-bit thermal count; 0 if counts are not temperatures. FLIR
            Lepton and Boson with TLinear: 0.01 in high gain, 0.1 in low gain. Optris: 0.1.
        kelvin_at_zero: Temperature of count 0, kelvin. Optris, which starts at -100 degrees:
            173.15.
        low_count, high_count: Counts that become black and white if 16-bit counts are not
            temperatures.
        telemetry_rows: Rows with telemetry at the bottom of an infrared image.

    Raises:
        ValueError: A value is out of range.
    """

    mono16_is_depth: bool = False
    infrared_kind: str = THERMAL
    kelvin_per_count: float = CENTIKELVIN
    kelvin_at_zero: float = 0.0
    low_count: int = 0
    high_count: int = 65535
    telemetry_rows: int = 0

    def __post_init__(self) -> None:
        if self.infrared_kind not in INFRARED_KINDS:
            raise ValueError(
                f'infrared_kind must be one of {INFRARED_KINDS}, not {self.infrared_kind!r}'
            )
        if not 0 <= self.kelvin_per_count <= 100:
            raise ValueError(f'kelvin_per_count must be 0..100, not {self.kelvin_per_count}')
        if not -1000 <= self.kelvin_at_zero <= 1000:
            raise ValueError(f'kelvin_at_zero must be -1000..1000, not {self.kelvin_at_zero}')
        if not 0 <= self.low_count < self.high_count <= 65535:
            raise ValueError(
                f'counts must be 0 <= low_count < high_count <= 65535, '
                f'not {self.low_count} and {self.high_count}'
            )
        if self.telemetry_rows < 0:
            raise ValueError(f'telemetry_rows must be 0 or more, not {self.telemetry_rows}')

    @property
    def radiometric(self) -> bool:
        """Whether 16-bit infrared counts are temperatures."""
        return self.infrared_kind == THERMAL and self.kelvin_per_count > 0
