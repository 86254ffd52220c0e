from pathlib import Path

import ma_snn
from ma_snn.parameter_table import parameter_table


def test_the_table_in_the_readme_is_that_of_the_code():
    assert parameter_table() in (Path(ma_snn.__file__).parent / "README.md").read_text()
