"""Chunks of real speech, each with the state that the model itself has when it comes to it.

Silero VAD is recurrent: 32 ms of audio mean little without the state that the second before has left behind. From
zero state the model gives a mean probability of 0.31 to chunks of speech, from its own running state 0.97; and the
LSTM's cell reaches 28 along a clip but at most 1 in a first step, so ranges from zero states would be wrong too. The
states are therefore those of the package's own fp32 ONNX file, run along the clip. Every chunk can then stand in any
batch (teacher forcing: what a rounded model would do to its own state over a long clip is not measured; `stateN`,
which it would hand on, is compared like every output).

The clip is the 30 s telephone conversation that pyannote.audio ships with its speaker turns; a chunk is speech
(label 1) when its middle lies in a turn. Chunks come in a fixed shuffled order, because the clip begins with seven
seconds of silence.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from pipeline.data.samples import Array, Request

CLIP = "pyannote/audio/sample/sample.wav"
TURNS = "pyannote/audio/sample/sample.rttm"
MODEL = "silero_vad/data/silero_vad_16k_op15.onnx"
RATE = 16000
CHUNK = 512
CONTEXT = 64
FULL_SCALE = 32768.0


def labelled(request: Request) -> Iterator[dict[str, Array]]:
    """Every chunk of the clip with its label."""
    yield from _shuffled(_chunks(request.folder, gain=1.0))


def ranging(request: Request) -> Iterator[dict[str, Array]]:
    """Every chunk of the clip as recorded and at three times the volume (0.96 of full scale), without labels."""
    both = [*_chunks(request.folder, gain=1.0), *_chunks(request.folder, gain=3.0)]
    for chunk in _shuffled(both):
        yield {name: value for name, value in chunk.items() if not name.startswith("expected.")}


def _shuffled(chunks: Iterator[dict[str, Array]] | list[dict[str, Array]]) -> Iterator[dict[str, Array]]:
    found = list(chunks)
    for index in np.random.default_rng(0).permutation(len(found)):
        yield found[index]


def _chunks(folder: Path, gain: float) -> Iterator[dict[str, Array]]:
    """Inputs of each chunk in time order: 64 samples of the chunk before it and its own 512, and the running state."""
    audio, turns = _audio(folder / CLIP) * np.float32(gain), _turns(folder / TURNS)
    session = onnxruntime.InferenceSession(folder / MODEL, providers=["CPUExecutionProvider"])
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), audio])
    state, rate = np.zeros((2, 1, 128), np.float32), np.asarray(RATE, np.int64)
    for start in range(0, len(audio) - CHUNK + 1, CHUNK):
        chunk = padded[start : start + CONTEXT + CHUNK]
        middle = (start + CHUNK / 2) / RATE
        speech = any(begin <= middle < end for begin, end in turns)
        yield {
            "input": chunk,
            "state": state[:, 0],
            "sr": rate,
            "expected.label": np.asarray(speech, np.int64),
        }
        state = session.run(["stateN"], {"input": chunk[None], "state": state, "sr": rate})[0]


def _audio(path: Path) -> Array:
    """Mono 16-bit samples, fp32 in -1..1."""
    with wave.open(str(path)) as clip:
        found = (clip.getnchannels(), clip.getsampwidth(), clip.getframerate())
        if found != (1, 2, RATE):
            raise ValueError(f"{path.name}: expected 1 channel of 2 bytes at {RATE} Hz, got {found}")
        return np.frombuffer(clip.readframes(clip.getnframes()), "<i2").astype(np.float32) / np.float32(FULL_SCALE)


def _turns(path: Path) -> list[tuple[float, float]]:
    """Begin and end of every speaker turn in seconds (RTTM: fields 4 and 5 are onset and duration)."""
    fields = [line.split() for line in path.read_text().splitlines() if line.startswith("SPEAKER")]
    return [(float(item[3]), float(item[3]) + float(item[4])) for item in fields]
