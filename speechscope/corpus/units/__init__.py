"""What one item of a corpus is: a phone segment, a frame, a window of the waveform, an utterance."""
