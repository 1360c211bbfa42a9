"""The figures of a run: likelihoods, sample quality beside reference lines, and what they cost.

`figures.py` has those of one set of weights, `curves.py` those along an axis: steps, orders, checkpoints; `drawing.py`
draws samples and makes pictures of them, told what `told.py` says; `embedding.py` chooses the features. The commands
import it.
"""
