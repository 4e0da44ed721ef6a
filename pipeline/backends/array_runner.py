"""Polygraphy's ONNX Runtime runner for feeds that are numpy arrays."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from polygraphy import util
from polygraphy.backend.onnxrt import OnnxrtRunner


class ArrayRunner(OnnxrtRunner):  # type: ignore[misc]  # Polygraphy has no types
    """Polygraphy's runner, without its look at whether a feed is a torch tensor: that imports torch (2.7 s)."""

    @util.check_called_by("infer")  # type: ignore[untyped-decorator]  # Polygraphy has no types
    def infer_impl(self, feed_dict: dict[str, Any]) -> OrderedDict[str, Any]:
        """Outputs by name for feeds by name."""
        start = time.perf_counter()
        outputs = self.sess.run(None, dict(feed_dict))
        self.inference_time = time.perf_counter() - start
        return OrderedDict(zip((item.name for item in self.sess.get_outputs()), outputs, strict=True))
