import pytest

from tests import bundles


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A bundle that no test changes."""
    folder = tmp_path_factory.mktemp("shipped") / "bundle"
    bundles.write(folder)
    return folder
