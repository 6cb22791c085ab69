"""What browser tests share."""

import pytest

pytest.register_assert_rewrite("browsing")

from browsing import chromium, open_page  # noqa: E402

__all__ = ["chromium", "open_page"]
