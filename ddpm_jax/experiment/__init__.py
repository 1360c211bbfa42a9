"""From a checked config and a data set's description to the parts of one experiment; nothing here samples or measures.

`base.py` says what comes of it; `gaussian.py`, `ordered.py` and `uniform.py` choose the parts of experiments with
processes of these kinds, and say what cannot work together, `classifier.py` likewise of a classifier of noisy images;
`checks.py` asks all that a config may not be, `options.py` turns its sections into arguments. Imports every folder of
the mathematics, `generative` and `config`; the commands, `evaluation` and `pipeline` import it.
"""

from ml_collections import ConfigDict

from ddpm_jax import data
from ddpm_jax.config.keys import OF_FOLDERS
from ddpm_jax.data import Dataset, Description
from ddpm_jax.errors import UserError, fail
from ddpm_jax.experiment.base import Experiment, Family
from ddpm_jax.experiment.checks import check, check_data, check_prompts, check_sizes, family_of, kind_of
from ddpm_jax.experiment.options import files_of, own
from ddpm_jax.plugins import FOLDER


def make(config: ConfigDict, description: Description) -> Experiment:
    """The experiment that a checked config describes, on data of this description."""
    family = family_of(config)
    model = family.model(config, description)
    sampling = family.sampling(config, model, None, None)
    measures, facts = family.measures(config, model), family.facts(config, model)
    return Experiment(config, model, sampling, measures, facts, family)


def load_data(config: ConfigDict) -> Dataset:
    """The config's data set, its captions read by the model's frozen encoder if it has one.

    Raises:
        UserError: within seconds, where it is not there or cannot be read, or the encoder is none.
    """
    section = config.data
    splits = {name: words for name, words in section.splits.items() if words}
    ours = {key: section[key] for key in OF_FOLDERS} if section.name == FOLDER else own(config, "data.name")
    found = data.load(section.name, section.dir or None, splits or None, ours)
    if section.levels:
        try:
            found = data.coarser(found, section.levels)
        except UserError as error:
            fail("data.levels", str(error))
    if section.views:
        try:
            found = data.with_views(found, section.views, section.view_noise)
        except UserError as error:
            fail("data.views", str(error))
    if not config.model.text_encoder:
        return found
    try:
        return data.encoded(found, config.model.text_encoder)
    except UserError as error:
        fail("model.text_encoder", str(error))


__all__ = [
    "Experiment",
    "Family",
    "check",
    "check_data",
    "check_prompts",
    "check_sizes",
    "files_of",
    "kind_of",
    "load_data",
    "make",
]
