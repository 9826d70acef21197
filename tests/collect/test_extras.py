import pytest

from pretrain.collect.extras import require
from pretrain.errors import PretrainError


def test_what_is_missing_is_named_with_its_remedy() -> None:
    require("json", "x", "anything")
    with pytest.raises(PretrainError, match=r"reading X needs .* pip install 'pretrain\[x\]'"):
        require("no_such_package_at_all", "x", "reading X")
