"""What an item of a corpus is: a phone segment, a frame, a window, an utterance."""
