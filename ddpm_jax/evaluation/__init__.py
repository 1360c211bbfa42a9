"""The figures of a run: likelihoods, sample quality beside reference lines, and what they cost.

`figures.py` has those of one set of weights, `curves.py` those along an axis: steps, orders, checkpoints. The commands
import it.
"""
