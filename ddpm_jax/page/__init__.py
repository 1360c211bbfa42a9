"""A page in the browser on trained runs, of the command `demo`: draw, edit, and see what a process removes.

`studio.py` is a run on the page, `removal.py` the process itself at a time, `controls.py` the settings that a person
has for a run, `layout.py` the page, `serving.py` how it is served: here alone, without a network. The last three need
Gradio (extra `demo`). Imports `pipeline`, what lies below, and the words of the command `sample`; the command `demo`
alone imports it.
"""
