"""What an `engine.toml` says, as records that cannot be invalid; keys of the file are names of the fields."""

from pipeline.core.spec.data import (
    CalibrationSpec,
    DataSource,
    Fit,
    ImageOptions,
    Metric,
    Reader,
    TaskSpec,
)
from pipeline.core.spec.deployment import (
    BuildSpec,
    CostSource,
    Policy,
    PrecisionSpec,
    SearchSpec,
    ToleranceSpec,
)
from pipeline.core.spec.engine import (
    AxisRange,
    EngineSpec,
    InputSpec,
)
from pipeline.core.spec.sources import (
    ModelSpec,
    Package,
    Source,
    WeightsSource,
)

__all__ = [
    "AxisRange",
    "BuildSpec",
    "CalibrationSpec",
    "CostSource",
    "DataSource",
    "EngineSpec",
    "Fit",
    "ImageOptions",
    "InputSpec",
    "Metric",
    "ModelSpec",
    "Package",
    "Policy",
    "PrecisionSpec",
    "Reader",
    "SearchSpec",
    "Source",
    "TaskSpec",
    "ToleranceSpec",
    "WeightsSource",
]
