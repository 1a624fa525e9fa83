"""Oumi's import paths for inference, served by oumi_core. Nothing but names lives here.

    from oumi.inference import LlamaCppInferenceEngine
    from oumi.core.configs import GenerationParams, InferenceConfig, ModelParams
    from oumi.core.types.conversation import Conversation, Message, Role

The distribution `oumi` owns the same package name, and installers do not see the conflict: the
second of the two to be installed overwrites files of the first. So importing this package beside
it is an error.
"""

from importlib.metadata import PackageNotFoundError, distribution

__all__: list[str] = []


def _refuse_to_stand_beside_oumi() -> None:
    # Costs 1 ms beyond the import of importlib.metadata, which the first engine needs anyway.
    try:
        version = distribution("oumi").version
    except PackageNotFoundError:
        return
    raise ImportError(
        f"oumi-compat and oumi {version} are both installed, and both own the package 'oumi'; "
        "keep one of them: to keep oumi-compat, run `pip uninstall oumi oumi-compat`, then "
        "`pip install oumi-compat`; to keep oumi, do the same with `pip install oumi`",
        name=__name__,
    )


_refuse_to_stand_beside_oumi()
