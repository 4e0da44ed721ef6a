"""Building one plan in this process. `process.build` is what other rooms call."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from pipeline.backends.tensorrt import flavour as flavours
from pipeline.backends.tensorrt import logger, network, progress
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import NO_OPERATOR, BuildAnswer, BuildRequest, NetworkLayer

DEBUG_MARKS = "INetworkDefinition.mark_unfused_tensors_as_debug_tensors"
"""Stands among the flags of a plan that hands out its inner tensors."""

PARSING = re.compile(r'While parsing node number \d+ \[(?P<op>\w+) -> "(?P<tensor>[^"]*)"\]')
UNSUPPORTED = "[8] false"
"""The parser's answer to an operator that it knows by name only; to one that it does not, that a plugin is missing."""


COMPILING = re.compile(r"Myelin \(.*?\bname=(?P<node>\S+)\s+Error is:\s+(?P<why>[^\n;]+)", re.DOTALL)
"""The compiler's error; its name for what it could not compile begins with that of the ONNX node."""


def build(request: BuildRequest, log: logger.BuildLog, listener: progress.Listener) -> BuildAnswer:
    """Build the plan that `request` describes and write it to `request.plan`.

    Returns:
        The answer; `built` is False and `errors` say why where TensorRT refused.

    Raises:
        BackendUnavailable: The flavour is not installed.
    """
    logger.install(request.flavour, log)
    trt = flavours.select(request.flavour)
    from polygraphy.exception import PolygraphyException

    started = time.monotonic()
    layers: tuple[NetworkLayer, ...] = ()
    flags: tuple[str, ...] = ()
    try:
        parsed = network.parse(trt, request.onnx)
        layers = network.read_back(parsed[1])
        _require_profiled_inputs(parsed[1], request)
        _mark_debug_tensors(trt, parsed[1], request)
        config = _config(trt, request, listener, parsed)
        flags = (*_flags(trt, config), *((DEBUG_MARKS,) if request.debug_tensors else ()))
        _write(request, parsed, config)
        built = True
    except (PolygraphyException, _Refused) as error:
        built = False
        if not log.errors or isinstance(error, _Refused):
            log.write("ERROR", str(error))
    return BuildAnswer(
        version=trt.__version__,
        flags=flags,
        layers=layers,
        warnings=tuple(log.warnings),
        errors=explained(log.errors) if not built else (),
        built=built,
        seconds=time.monotonic() - started,
    )


def explained(errors: Sequence[str]) -> tuple[str, ...]:
    """`errors` as they came; where parser or compiler stopped at a node, a line that says so stands first."""
    if refused := next((found for error in errors if (found := COMPILING.search(error))), None):
        return (f"its compiler stopped at {refused['node']}: {refused['why'].strip()}", *errors)
    stopped = next((found for error in errors if (found := PARSING.search(error))), None)
    reason = next((error for error in errors if "In function" in error), None)
    if stopped is None or reason is None:
        return tuple(errors)
    said = reason.strip().rpartition("\n")[2]
    why = NO_OPERATOR if "Plugin not found" in said or said == UNSUPPORTED else said
    return (f"the {stopped['op']} that computes {stopped['tensor']}: {why}", *errors)


class _Refused(Exception):
    """A setting that TensorRT did not take, or that cannot be made for this network."""


def _config(trt: ModuleType, request: BuildRequest, listener: progress.Listener, parsed: tuple[Any, Any, Any]) -> Any:
    from polygraphy.backend.trt import PostprocessConfig

    def finish(builder: Any, network: Any, config: Any) -> None:
        _set_tf32(trt, config, allowed=request.tf32)
        _require_targets(trt, config, request.targets)

    return PostprocessConfig(_loader(trt, request, listener), func=finish)(*parsed[:2])


def _loader(trt: ModuleType, request: BuildRequest, listener: progress.Listener) -> Any:
    shared = {
        "profiles": [_profile(request)],
        "memory_pool_limits": {trt.MemoryPoolType.WORKSPACE: request.workspace_mib << 20},
        "profiling_verbosity": trt.ProfilingVerbosity.DETAILED,
        "progress_monitor": progress.monitor(trt, listener),
    }
    if request.flavour is Flavour.RTX:
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        capabilities = [_capability(target) for target in request.targets]
        return CreateConfigRTX(compute_capabilities=capabilities, **shared)
    from polygraphy.backend.trt import CreateConfig

    cache = request.timing_cache
    known = str(cache) if cache is not None and cache.exists() else None
    return CreateConfig(load_timing_cache=known, **shared)


def _profile(request: BuildRequest) -> Any:
    from polygraphy.backend.trt import Profile

    profile = Profile()
    for name, (low, opt, high) in request.profiles.items():
        profile.add(name, min=low, opt=opt, max=high)
    return profile


def _capability(target: str) -> tuple[int, int]:
    major, minor = target.split(".")
    return int(major), int(minor)


def _set_tf32(trt: ModuleType, config: Any, *, allowed: bool) -> None:
    change = config.set_flag if allowed else config.clear_flag
    change(trt.BuilderFlag.TF32)
    if config.get_flag(trt.BuilderFlag.TF32) is not allowed:
        raise _Refused(f"TensorRT did not {'set' if allowed else 'clear'} BuilderFlag.TF32")


def _require_targets(trt: ModuleType, config: Any, targets: tuple[str, ...]) -> None:
    """Set each target again and look at the answer: Polygraphy ignores it, and a refused target would be dropped."""
    for index, target in enumerate(targets):
        name = "SM{}{}".format(*_capability(target))
        wanted = trt.ComputeCapability.__members__.get(name)
        accepted = wanted is not None and config.set_compute_capability(wanted, index)
        if not (accepted and config.get_compute_capability(index) == wanted):
            raise _Refused(f"TensorRT-RTX {trt.__version__} does not accept compute capability {target}")


def _require_profiled_inputs(parsed: Any, request: BuildRequest) -> None:
    """A profile has to have every input's shape; Polygraphy would make up those that are missing."""
    names = network.input_names(parsed)
    if sorted(names) != sorted(request.profiles):
        raise _Refused(f"the graph's inputs are {sorted(names)}, and the spec has {sorted(request.profiles)}")
    shaping = network.shape_inputs(parsed)
    if shaping:
        raise _Refused(f"the values of graph inputs {list(shaping)} decide shapes; a profile cannot give their ranges")


def _mark_debug_tensors(trt: ModuleType, parsed: Any, request: BuildRequest) -> None:
    if not request.debug_tensors:
        return
    if not hasattr(trt.INetworkDefinition, "mark_unfused_tensors_as_debug_tensors"):
        raise _Refused(f"{trt.__name__} {trt.__version__} has no debug tensors that keep fusions; 10.12 has")
    if not parsed.mark_unfused_tensors_as_debug_tensors():
        raise _Refused("TensorRT did not mark unfused tensors as debug tensors")


def _flags(trt: ModuleType, config: Any) -> tuple[str, ...]:
    """What was set, by name: the integers behind the names differ between releases."""
    set_here = (name for name, flag in trt.BuilderFlag.__members__.items() if config.get_flag(flag))
    return (
        *(f"BuilderFlag.{name}" for name in sorted(set_here)),
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "OnnxParserFlag.NATIVE_INSTANCENORM",
        f"ProfilingVerbosity.{config.profiling_verbosity.name}",
    )


def _write(request: BuildRequest, parsed: tuple[Any, Any, Any], config: Any) -> None:
    from polygraphy.backend.trt import EngineBytesFromNetwork

    cache = str(request.timing_cache) if request.timing_cache is not None else None
    loader = EngineBytesFromNetwork(parsed, config, save_timing_cache=cache)
    # SaveEngine would want a deserialised engine, which needs a GPU.
    request.plan.write_bytes(memoryview(loader()))
