"""Keep torch and transformers from writing to the terminal while they load and trace."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

LOGGERS = ("torch", "torch.onnx", "torch.export", "transformers", "onnxscript", "onnx_ir", "huggingface_hub")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence these libraries' log messages, progress bars and warnings; errors still raise.

    The progress bar of GGUF files heeds no switch, hence the redirection.
    """
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    transformers_logging.disable_progress_bar()
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
