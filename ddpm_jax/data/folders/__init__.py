"""The user's own data: a folder of pictures, a data set that Hugging Face's `datasets` saved, or arrays in a file.

`finding.py` and `metadata.py` know the layouts that people use, `decoding.py` makes an array of a file, `contents.py`
does so for many, once; `pictures.py` puts that together. `huggingface.py` finds what Hugging Face's `datasets` saved,
and `stored.py` reads arrays in a file. `splitting.py` and `labelling.py` say what is in which split and what is known
of it, and `assembling.py` makes a data set of it all.
`prepared.py` writes one that need not fit into memory, and `reading.py` chooses by the place.
"""

from ddpm_jax.data.folders.reading import load, write

__all__ = ["load", "write"]
