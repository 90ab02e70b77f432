"""What is changed in other modules once they have been imported, and modules that stand in for missing ones."""

import sys


class AfterImport:
    """A finder that finds nothing itself: it calls an action after a module of that name has been imported."""

    def __init__(self, actions):
        self._actions = dict(actions)

    def find_spec(self, name, path=None, target=None):
        action = self._actions.pop(name, None)
        if action is None:
            return None
        spec = self._find(name, path, target)
        execute = getattr(getattr(spec, "loader", None), "exec_module", None)
        if execute is None:
            self._actions[name] = action
            return spec

        def execute_and_act(module):
            execute(module)
            action(module)

        spec.loader.exec_module = execute_and_act
        return spec

    def _find(self, name, path, target):
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find and finder is not self else None
            if spec is not None:
                return spec
        return None


def use_fork(context):
    """Cells define their functions in a `__main__` that has no file: a child can have them only by being a fork (the default
    before Python 3.14)."""
    default = getattr(context, "_default_context", None)
    fork = getattr(context, "_concrete_contexts", {}).get("fork")
    if fork is not None and getattr(default, "_actual_context", 0) is None:
        default._default_context = fork
