"""What holds for every test: keys and answers of the user who runs them are left alone."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def folders_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys and remembered answers go into a temporary folder, also those of child processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONFIG", "STATE"):
            patch.setenv(f"PUPPETCAM_{name}", str(tmp_path_factory.mktemp(name.lower())))
        yield
