"""What can go wrong, and the exit code the shell sees.

    PretrainError                 1   anything of ours without a better name
    ├── UsageError               64   the command line
    ├── DataError                65   input data or an artefact that cannot be used
    ├── RankError                69   one of several ranks died or hangs; the same command goes on
    ├── LockedError              73   another process holds the run
    ├── DiskError                74   disk full or not writable; what was complete stays
    ├── Stopped                  75   stopped on request; the same command goes on from here
    └── RecipeError              78   the recipe, found before any work starts

A message names the stage, what it is, what it must be and where to mend it:
`mix: weight of source 'web' is -1; must be > 0 (recipe key mix.sources.web.weight)`.
"""


class PretrainError(Exception):
    exit_code = 1


class UsageError(PretrainError):
    exit_code = 64


class DataError(PretrainError):
    exit_code = 65


class RankError(PretrainError):
    exit_code = 69
    ranks: tuple[int, ...] = ()  # to blame, where they are known


class LockedError(PretrainError):
    exit_code = 73


class DiskError(PretrainError):
    exit_code = 74


class Stopped(PretrainError):
    exit_code = 75


class RecipeError(PretrainError):
    exit_code = 78


def recipe_error(key: str, what: str, must: str = "") -> RecipeError:
    """The error for one recipe key: `stage: what; must be … (recipe key stage.key)`."""
    stage = key.partition(".")[0]
    wish = f"; must be {must}" if must else ""
    return RecipeError(f"{stage}: {what}{wish} (recipe key {key})")
