"""What stages hand to one another. Payload files lie in the folder of the store entry that holds the record."""

from pipeline.core.artifacts.differences import (
    Cause,
    Contribution,
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
    LostFusion,
    PlanText,
)
from pipeline.core.artifacts.gpu import GpuCheck, Latency, View
from pipeline.core.artifacts.models import (
    Check,
    Fate,
    OnnxModel,
    TensorInfo,
)
from pipeline.core.artifacts.precision import (
    Basis,
    Decision,
    Growing,
    PrecisionPlan,
)
from pipeline.core.artifacts.rescaling import (
    Compensated,
    Compensation,
    OutputGain,
    Place,
    Rescaled,
    Rescaling,
)
from pipeline.core.artifacts.samples import (
    ActivationRanges,
    Samples,
    SampleSet,
    TensorRange,
)
from pipeline.core.artifacts.search import (
    Budget,
    Change,
    Confirmation,
    Direction,
    Kept,
    Outcome,
    Purchase,
    SearchPoint,
    SearchResult,
)
from pipeline.core.artifacts.shipping import (
    Bundle,
    Invocation,
    Overrides,
    RenderedReport,
)
from pipeline.core.artifacts.sources import (
    Files,
    Provenance,
    Scratchpad,
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
    "Basis",
    "Budget",
    "Bundle",
    "Cause",
    "Change",
    "Check",
    "Compensated",
    "Compensation",
    "Confirmation",
    "Contribution",
    "Decision",
    "Direction",
    "EnginePlan",
    "EnginePlans",
    "ErrorStats",
    "Fate",
    "Files",
    "FusionBaseline",
    "GpuCheck",
    "Growing",
    "Injected",
    "Invocation",
    "Kept",
    "Kernel",
    "Kind",
    "Latency",
    "Layer",
    "LostFusion",
    "OnnxModel",
    "Origin",
    "Outcome",
    "OutputGain",
    "OutputVerdict",
    "Overrides",
    "Place",
    "PlanText",
    "PrecisionPlan",
    "Provenance",
    "Purchase",
    "RenderedReport",
    "Rescaled",
    "Rescaling",
    "SampleSet",
    "Samples",
    "Scratchpad",
    "SearchPoint",
    "SearchResult",
    "SourceTree",
    "TaskVerdict",
    "TensorInfo",
    "TensorRange",
    "ValidationReport",
    "View",
    "Weights",
]
