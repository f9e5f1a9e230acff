"""Networks that come with puppetcam: whole, or one line."""

from pathlib import Path

import pytest

from config.errors import BundleError
from realtime import finder, matte
from realtime.shipped import open_network


@pytest.mark.parametrize("weights", [finder.WEIGHTS, matte.WEIGHTS])
def test_a_changed_or_missing_file_is_one_line(weights: Path, tmp_path: Path) -> None:
    copy = tmp_path / weights.name
    with pytest.raises(
        BundleError, match=r"the shipped thing .* cannot be read .* install"
    ) as told:
        open_network(copy, "thing")
    assert "\n" not in str(told.value)
    changed = bytearray(weights.read_bytes())
    changed[5000] ^= 1
    copy.write_bytes(changed)
    copy.with_suffix(".sha256").write_text(weights.with_suffix(".sha256").read_text())
    with pytest.raises(BundleError, match=r"the shipped thing .* was changed; install"):
        open_network(copy, "thing")
    copy.write_bytes(weights.read_bytes())
    open_network(copy, "thing")
