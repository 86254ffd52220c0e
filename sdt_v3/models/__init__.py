"""Networks of the SDT V3 paper; importing this registers them with timm, also under the authors' names."""

from sdt_v3.models import aliases, base, dense, dvs, large, mae
