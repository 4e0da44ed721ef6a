"""What stages hand to one another. Payload files lie in the folder of the store entry that holds the record."""

from pipeline.core.artifacts.differences import (
    Cause,
    ErrorStats,
    Injected,
    Kind,
    Origin,
)
from pipeline.core.artifacts.engines import (
    EnginePlan,
    EnginePlans,
    FusionBaseline,
    Kernel,
    PlanText,
)
from pipeline.core.artifacts.models import (
    Check,
    Fate,
    OnnxModel,
    TensorInfo,
)
from pipeline.core.artifacts.precision import (
    Decision,
    PrecisionPlan,
)
from pipeline.core.artifacts.samples import (
    ActivationRanges,
    Samples,
    SampleSet,
    TensorRange,
)
from pipeline.core.artifacts.shipping import (
    Bundle,
    RenderedReport,
)
from pipeline.core.artifacts.sources import (
    Files,
    Provenance,
    SourceTree,
    Weights,
)
from pipeline.core.artifacts.validation import (
    Layer,
    OutputVerdict,
    TaskVerdict,
    ValidationReport,
)

__all__ = [
    "ActivationRanges",
    "Bundle",
    "Cause",
    "Check",
    "Decision",
    "EnginePlan",
    "EnginePlans",
    "ErrorStats",
    "Fate",
    "Files",
    "FusionBaseline",
    "Injected",
    "Kernel",
    "Kind",
    "Layer",
    "OnnxModel",
    "Origin",
    "OutputVerdict",
    "PlanText",
    "PrecisionPlan",
    "Provenance",
    "RenderedReport",
    "SampleSet",
    "Samples",
    "SourceTree",
    "TaskVerdict",
    "TensorInfo",
    "TensorRange",
    "ValidationReport",
    "Weights",
]
