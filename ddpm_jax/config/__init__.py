"""The config of a run: every key with its default, what it may hold, and what makes two configs the same run.

`keys.py` has every key with its default, meaning and bounds, `base.py` the base config of them, `families.py` what
makes each published model what it is, `checks.py` what is refused, `identity.py` dotted keys, digests and differences,
`loading.py` config files and overrides, `synonyms.py` what a word that is no key means. A config is read by the folders
that choose the parts (`experiment`) and by the commands, and by nothing below them.
"""
