"""Sample quality: Frechet distance, precision and recall on named features, copies of training images, and the lines
to compare them with. Works on integer images, `uint8 [n, *space, channels]` of values 0..levels-1, whatever made them.

May import errors, files, keys and models; only the training loop and the commands import this folder. `quality` and
`reference_lines` (quality.py) are the way in; they need features from `load_features` (features.py).
"""
