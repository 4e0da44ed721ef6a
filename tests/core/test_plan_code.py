import hashlib
from types import ModuleType

import pytest

from pipeline.core import plan_code

NO_TENSORRT = ModuleType("no_tensorrt")
"""Has no Runtime: whatever gets that far fails with another error."""


def load(content, sha256):
    return plan_code.deserialise(NO_TENSORRT, None, content, sha256=sha256, where="x.plan", hint="")


def test_other_bytes_than_the_trusted_ones_reach_no_tensorrt():
    trusted = hashlib.sha256(b"a plan").hexdigest()
    found = hashlib.sha256(b"a plam").hexdigest()
    with pytest.raises(ValueError, match=f"digest {found}, not the recorded {trusted}: it is not deserialised"):
        load(b"a plam", trusted)
    with pytest.raises(AttributeError, match="Runtime"):
        load(b"a plan", trusted)
