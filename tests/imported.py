"""What commands import, for the process that `forked` forks."""
import joblib  # noqa: F401
import pandas  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.cluster  # noqa: F401
import transformers.models.t5.modeling_t5  # noqa: F401

from metapt_nb import cli, crosstask, demo, experiments, starts, supmer_study  # noqa: F401
