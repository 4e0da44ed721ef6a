"""What a module takes and returns, asked of the module itself: the inputs, axes and outputs of a new spec."""

from __future__ import annotations

from pipeline.models.interface.survey import Interface, of_module

__all__ = ["Interface", "of_module"]
