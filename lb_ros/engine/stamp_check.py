"""Check of stamps that are zero, stale, in the future, or running backwards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckedStamp:
    """Result of the check of a stamp.

    Attributes:
        stamp_ns: Stamp to use.
        fault: Kind of fault, or empty.
        line: Description of the fault.
        usable: False if the message must be dropped.
    """

    stamp_ns: int
    fault: str = ''
    line: str = ''
    usable: bool = True


class StampCheck:
    """Checks the stamps of one input in the order of their arrival.

    Args:
        max_future_ms: Accepted lead of other machines' clocks.
    """

    def __init__(self, *, max_future_ms: float) -> None:
        self.max_future_ms = max_future_ms
        self._last_ns = 0

    def check(self, stamp_ns: int, now_ns: int, *, max_age_ms: float) -> CheckedStamp:
        """Check a stamp against the ROS clock, both in nanoseconds.

        Args:
            stamp_ns: Stamp of the message.
            now_ns: Time of arrival.
            max_age_ms: Age above which a message is stale; may differ from call to call.
        """
        if stamp_ns == 0:
            return CheckedStamp(
                now_ns, 'no_stamp', 'its stamp is 0, so the time of arrival is used'
            )
        age_ms = (now_ns - stamp_ns) * 1e-6
        if age_ms < -self.max_future_ms:
            line = (
                f'its stamp is {-age_ms:.0f} ms in the future, more than max_future_ms '
                f'{self.max_future_ms:.0f}: are the clocks synchronised, is use_sim_time right?'
            )
            return CheckedStamp(stamp_ns, 'future', line, usable=False)
        if age_ms > max_age_ms:
            line = f'its stamp is {age_ms:.0f} ms old, more than max_age_ms {max_age_ms:.0f}' + (
                ': for a replayed bag set use_sim_time' if age_ms > 60_000 else ''
            )
            return CheckedStamp(stamp_ns, 'stale', line, usable=False)
        back_ms = (self._last_ns - stamp_ns) * 1e-6
        self._last_ns = stamp_ns
        if back_ms > 0:
            return CheckedStamp(
                stamp_ns, 'backwards', f'its stamp is {back_ms:.0f} ms before the last'
            )
        return CheckedStamp(stamp_ns)
