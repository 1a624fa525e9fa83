"""From an announced name to a class: import one module, call one hook, check one class.

Whatever a plugin does wrong on that way becomes a `PluginError` that names the distribution, the
place and the remedy, and is remembered: asking again neither imports again nor says otherwise.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import attrs

from oumi_core.announcements import BATCH_BACKEND, ENGINE, GUIDED_DECODER, RETRY_POLICY
from oumi_core.errors import PluginError
from oumi_core.plugin_names import CORE, ENGINE_REQUIREMENTS, canonical, normalise

if TYPE_CHECKING:
    from types import ModuleType

    import pluggy

    from oumi_core.announcements import Announced

__all__ = ["Loaded", "PluginLoader"]


@attrs.frozen
class Loaded:
    """What a plugin's hook offered under the name that was asked for.

    Attributes:
        cls: the class.
        unknown_hooks: functions of the module that are marked as hooks but that this version of
            core does not know: misspelt, or written for a later one.
    """

    cls: type[Any]
    unknown_hooks: tuple[str, ...]


class _LoadError(Exception):
    """Why a plugin cannot be loaded: the rest of a sentence that starts with `Announced.title`."""


class PluginLoader:
    """Loads plugins one at a time into one pluggy manager. Not for several threads at once."""

    def __init__(self) -> None:
        self._manager: pluggy.PluginManager | None = None
        self._modules: dict[str, ModuleType | _LoadError] = {}
        self._loaded: dict[Announced, Loaded | _LoadError] = {}

    def load(self, announced: Announced) -> Loaded:
        """Load the plugin behind one announcement, and no other.

        Raises:
            PluginError: it cannot be used; chained from the plugin's own exception if it raised.
        """
        if announced not in self._loaded:
            try:
                self._loaded[announced] = self._load(announced)
            except _LoadError as error:
                self._loaded[announced] = error
        outcome = self._loaded[announced]
        if isinstance(outcome, _LoadError):
            message = f"{announced.title} {outcome}"
            raise PluginError(message, name=announced.name) from outcome.__cause__
        return outcome

    def _load(self, announced: Announced) -> Loaded:
        module = self._module(announced)
        offered = self._call_hook(module, announced)
        if announced.name not in offered:
            names = ", ".join(f"'{name}'" for name in sorted(offered)) or "nothing"
            raise _LoadError(
                f"is announced, but {announced.kind.hook}() of {announced.value} offers only "
                f"{names}; {_remedy(announced)}"
            )
        reference = offered[announced.name]
        cls = _resolve(reference, announced) if isinstance(reference, str) else reference
        if not isinstance(cls, type):
            raise _LoadError(f"is not a class but {cls!r:.80}; {_remedy(announced)}")
        check = _CHECKS.get(announced.kind)
        if check is not None:
            check(cls, announced)
        return Loaded(cls, self._unknown_hooks(module))

    def _module(self, announced: Announced) -> ModuleType:
        """Import and register the hook module, once for all names and kinds that it serves."""
        value = announced.value
        if value not in self._modules:
            try:
                module = _import(value, announced)
                self._register(module, announced)
                self._modules[value] = module
            except _LoadError as error:
                self._modules[value] = error
        outcome = self._modules[value]
        if isinstance(outcome, _LoadError):
            raise outcome
        return outcome

    def _register(self, module: ModuleType, announced: Announced) -> None:
        import pluggy  # noqa: PLC0415 - import on use: listing plugins does without it

        if self._manager is None:
            self._manager = _new_manager()
        try:
            # pluggy 1.7 checks all hooks of a module before it keeps any of them.
            self._manager.register(module, name=announced.value)
        except (pluggy.PluginValidationError, ValueError) as error:
            reason = str(error).replace("\n", " ")
            raise _LoadError(
                f"does not fit the hooks of this oumi-core ({reason}); "
                f"pip install --upgrade {CORE} {announced.distribution}"
            ) from error

    def _call_hook(self, module: ModuleType, announced: Announced) -> dict[str, object]:
        """Call the hook of this module alone; the names that it offers, normalised."""
        manager, hook = cast("pluggy.PluginManager", self._manager), announced.kind.hook
        others = [plugin for plugin in manager.get_plugins() if plugin is not module]
        try:
            results = manager.subset_hook_caller(hook, remove_plugins=others)()
        except (Exception, SystemExit) as error:
            raise _LoadError(
                f"cannot be loaded: {hook}() of {announced.value} raised "
                f"{_first_line(error)}; {_remedy(announced)}"
            ) from error
        if not results:
            unknown = ", ".join(self._unknown_hooks(module))
            raise _LoadError(
                f"is announced, but {announced.value} has no @hookimpl {hook}() that returns "
                f"something{unknown and f' (it has {unknown}, which is no hook)'}; "
                f"{_remedy(announced)}"
            )
        if not isinstance(results[0], Mapping):
            raise _LoadError(
                f"cannot be loaded: {hook}() of {announced.value} returned "
                f"{type(results[0]).__name__}, not a mapping of names; {_remedy(announced)}"
            )
        return {normalise(str(name)): reference for name, reference in results[0].items()}

    def _unknown_hooks(self, module: ModuleType) -> tuple[str, ...]:
        callers = cast("pluggy.PluginManager", self._manager).get_hookcallers(module) or []
        return tuple(sorted(caller.name for caller in callers if not caller.has_spec()))


def _new_manager() -> pluggy.PluginManager:
    import pluggy  # noqa: PLC0415 - import on use, as above

    from oumi_core import hookspecs  # noqa: PLC0415 - import on use: it imports pluggy

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _import(name: str, announced: Announced) -> ModuleType:
    """Import a module that belongs to a plugin.

    Anything that it raises, `sys.exit` included, is the plugin's fault and must not end the
    program; only Ctrl-C passes.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise _LoadError(f"names no module: '{name}'; {_remedy(announced)}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        what = f"its module {missing}" if f"{name}.".startswith(f"{missing}.") else f"'{missing}'"
        raise _LoadError(
            f"cannot be loaded: importing {name} needs {what}, which is not installed; "
            f"{_remedy(announced)}"
        ) from error
    except (Exception, SystemExit) as error:
        raise _LoadError(
            f"cannot be loaded: importing {name} raised {_first_line(error)}; {_remedy(announced)}"
        ) from error


def _resolve(reference: str, announced: Announced) -> object:
    """Follow a lazy reference, `"module:Class"`."""
    module_name, _, path = reference.partition(":")
    if not path:
        raise _LoadError(
            f"is offered as '{reference}', which must have the form 'module:Class'; "
            f"{_remedy(announced)}"
        )
    found: object = _import(module_name, announced)
    try:
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except AttributeError as error:
        raise _LoadError(
            f"is offered as '{reference}', but {module_name} has no {path}; {_remedy(announced)}"
        ) from error
    except (Exception, SystemExit) as error:  # a module's own __getattr__ may import
        raise _LoadError(
            f"cannot be loaded: {reference} raised {_first_line(error)}; {_remedy(announced)}"
        ) from error
    return found


def _check_engine(cls: type[Any], announced: Announced) -> None:
    from oumi_core.engine import Capabilities, Engine  # noqa: PLC0415 - imports asyncio

    title = f"{cls.__module__}:{cls.__qualname__}"
    _check_subclass(cls, Engine, announced)
    if not isinstance(cls.capabilities, Capabilities):
        raise _LoadError(f"is no engine: `capabilities` of {title} must be Capabilities")


def _check_decoder(cls: type[Any], announced: Announced) -> None:
    from oumi_core.guided.decoder import Decoder  # noqa: PLC0415 - import on use

    _check_subclass(cls, Decoder, announced)


def _check_batching(cls: type[Any], announced: Announced) -> None:
    from oumi_core.batching.backend import Batching  # noqa: PLC0415 - import on use

    _check_subclass(cls, Batching, announced)


def _check_policy(cls: type[Any], announced: Announced) -> None:
    from oumi_core.run.retry import RetryPolicy  # noqa: PLC0415 - import on use

    _check_subclass(cls, RetryPolicy, announced)


def _check_subclass(cls: type[Any], base: type[Any], announced: Announced) -> None:
    title = f"{cls.__module__}:{cls.__qualname__}"
    if not issubclass(cls, base):
        raise _LoadError(
            f"is no {announced.kind.label}: {title} must be a subclass of "
            f"{base.__module__}.{base.__name__}"
        )
    _check_contract(cls, title, announced)
    _check_defined(cls, title, announced)


_CHECKS = {
    ENGINE: _check_engine,
    GUIDED_DECODER: _check_decoder,
    BATCH_BACKEND: _check_batching,
    RETRY_POLICY: _check_policy,
}
"""What a class of each kind must be."""


def _check_contract(cls: type[Any], title: str, announced: Announced) -> None:
    from oumi_core.engine import CONTRACTS  # noqa: PLC0415 - import on use: it imports asyncio

    label = announced.kind.label
    served = f"this oumi-core serves {CONTRACTS.start} to {CONTRACTS.stop - 1}"
    if not isinstance(cls.contract, int):
        raise _LoadError(f"is no {label}: `contract` of {title} must be a number; {served}")
    if cls.contract >= CONTRACTS.stop:
        raise _LoadError(
            f"is written for contract {cls.contract}, and {served}: pip install --upgrade {CORE}"
        )
    if cls.contract < CONTRACTS.start:
        raise _LoadError(
            f"is written for contract {cls.contract}, and {served}: "
            f"pip install --upgrade {announced.distribution}"
        )


def _check_defined(cls: type[Any], title: str, announced: Announced) -> None:
    if cls.__abstractmethods__:
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise _LoadError(f"is no {announced.kind.label}: {title} does not define {missing}")


def _remedy(announced: Announced) -> str:
    """What the user can do about a plugin that is at fault."""
    # Of ours, some need an extra that brings the library under them: oumi-vllm[cuda].
    known = ENGINE_REQUIREMENTS.get(announced.name) or "" if announced.kind == ENGINE else ""
    ours = canonical(known.partition("[")[0]) == canonical(announced.distribution)
    requirement = known if ours else announced.distribution
    return f"try pip install --upgrade {requirement}, or tell its authors"


def _first_line(error: BaseException) -> str:
    """The exception in one line. One of a name that is an import has no prompt or key to quote."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
