"""The config of a run: every key with its default, what it may hold, and what makes two configs the same run.

`base.py` has the keys, `families.py` what makes each published model what it is, `checks.py` what is refused,
`identity.py` dotted keys, digests and differences, `loading.py` config files and overrides. A config is read by the
rooms that build the parts (`experiment`) and by the commands, and by nothing below them.
"""
