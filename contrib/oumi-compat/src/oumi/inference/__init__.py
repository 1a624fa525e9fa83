"""The engine classes, under Oumi's path.

A class whose plugin is not installed can be imported; making one says what to install.
"""

from oumi_core.inference import (
    EchoInferenceEngine,
    InferenceEngine,
    LlamaCppInferenceEngine,
    OpenAIInferenceEngine,
    RemoteInferenceEngine,
    RemoteVLLMInferenceEngine,
    VLLMInferenceEngine,
)

__all__ = [
    "EchoInferenceEngine",
    "InferenceEngine",
    "LlamaCppInferenceEngine",
    "OpenAIInferenceEngine",
    "RemoteInferenceEngine",
    "RemoteVLLMInferenceEngine",
    "VLLMInferenceEngine",
]
