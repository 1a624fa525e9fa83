"""The params classes and `InferenceConfig`, under Oumi's path."""

from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)

__all__ = [
    "GenerationParams",
    "GuidedDecodingParams",
    "InferenceConfig",
    "ModelParams",
    "RemoteParams",
]
