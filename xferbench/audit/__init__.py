"""Does a training set, which nobody has to show, know the test pairs already? And which pairs are new to it?"""

from __future__ import annotations

from xferbench.audit.comparing import audit
from xferbench.audit.record import KINDS, Audit, Regime, read_audit, regime, write_audit

__all__ = ["KINDS", "Audit", "Regime", "audit", "read_audit", "regime", "write_audit"]
