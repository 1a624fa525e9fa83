"""The configs: frozen, checked when they are made, read from and written to Oumi's YAML."""

from oumi_core.configs.budget_params import BudgetParams
from oumi_core.configs.generation_params import GenerationParams
from oumi_core.configs.guided_decoding_params import GuidedDecodingParams
from oumi_core.configs.inference_config import InferenceConfig
from oumi_core.configs.model_params import ModelParams
from oumi_core.configs.remote_params import RemoteParams
from oumi_core.configs.schema import json_schema

__all__ = [
    "BudgetParams",
    "GenerationParams",
    "GuidedDecodingParams",
    "InferenceConfig",
    "ModelParams",
    "RemoteParams",
    "json_schema",
]
