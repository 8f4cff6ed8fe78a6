"""From synthesized speech to a recording: vocal tract, microphone, level and room."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from speechscope.synth.speakers import Speaker

RATE = 16_000
"""Sampling rate of the recordings [Hz], TIMIT's."""

PRAAT_RATE = 22_050
"""Sampling rate of the speech [Hz]: eSpeak's own, so that Praat does not resample."""

_UP, _DOWN = 320, 441  # RATE / PRAAT_RATE
_SILENT = 1e-4  # what lies below is no speech
_PEAK = 0.95  # of full scale; a louder recording is turned down to it
_NOISE_POLE = 0.7  # of the room's noise, which falls by 15 dB from 0 to 8 kHz


def record(
    speech: NDArray[np.float64], speaker: Speaker, rng: np.random.Generator
) -> tuple[NDArray[np.int16], float]:
    """Return the recording of a speaker, and its samples per sample of speech.

    A vocal tract shorter by a factor raises all formants by it: the speech is sampled so much too
    slowly, which shortens it and raises its pitch by the same factor. A two-tap response and
    low-pass noise stand for microphone and room, so that no silence is digital.
    """
    down = round(_DOWN * speaker.formants)
    recorded = signal.resample_poly(speech, _UP, down)
    recorded = signal.lfilter([1.0, speaker.tilt], [1.0], recorded)
    level = 10 ** (speaker.level / 20)
    # RMS of the sound alone: pauses would count for slow speakers.
    gain = level / np.sqrt(np.mean(np.square(recorded[np.abs(recorded) > _SILENT])))
    gain = min(gain, _PEAK / np.max(np.abs(recorded)))
    noise = signal.lfilter([1.0], [1.0, -_NOISE_POLE], rng.standard_normal(len(recorded)))
    noise *= level * 10 ** (speaker.noise / 20) * np.sqrt(1 - _NOISE_POLE**2)
    mixed = np.clip(np.rint(32768 * (gain * recorded + noise)), -32768, 32767)
    return mixed.astype(np.int16), _UP / down
