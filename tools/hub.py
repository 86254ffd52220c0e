"""A network as a folder of the Hugging Face hub: model.safetensors, config.json as timm has it, and README.md.

`common.pretrained` loads it. Its card, model.json, is that of all weights here, for `predict.py` and the other tools.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import nn

from common.files import atomic_path
from common.paper import Networks, Paper
from common.pretrained import WEIGHTS
from common.weights import card_file
from tools.networks import number_of_classes
from tools.papers import card_of
from tools.weights.files import separate

README = """---
library_name: timm
tags:
- timm
- spiking-neural-network
---
# {model}

{title}.

```python
import timm
import {package}  # registers the network; of the repository spiking-papers

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # "hf-hub:OWNER/NAME" once it is uploaded
```

| | |
| --- | --- |
| parameters | {parameters:,} |
| input | `[{axes}]` = {shape} |
| arguments | {arguments} |
| classes | {classes} |

{citation}
"""


def write_folder(model: nn.Module, card: Mapping[str, object], folder: Path) -> str:
    """Write `model`, built by timm, to `folder`, with what the `card` of its weights says; says what is in it.

    Raises:
        OutputError: the folder cannot be written.
    """
    name, create = model.made_by["model"], model.made_by["create"]
    classes = [*card.get("classes", ())]
    reading = card.get("reading") or {}
    config = {
        "architecture": name,
        "num_classes": number_of_classes(model),
        "label_names": classes or None,
        "model_args": create,
        "pretrained_cfg": {
            "input_size": [model.layout.channels, *model.layout.size],
            "num_classes": number_of_classes(model),
            **{key: reading[key] for key in ("mean", "std", "interpolation") if key in reading},
        },
    }
    texts = {
        "config.json": json.dumps({key: value for key, value in config.items() if value is not None}, indent=2) + "\n",
        card_file(Path(WEIGHTS)).name: json.dumps({**model.made_by, **card}, indent=2) + "\n",
        "README.md": readme(model, card_of(name), classes),
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        safetensors.torch.save_file(separate(model.state_dict()), temporary)
    for file, text in texts.items():
        with atomic_path(folder / file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return ", ".join((WEIGHTS, *texts))


def readme(model: nn.Module, card: Networks, classes: list[str]) -> str:
    """The model card."""
    create = model.made_by["create"]
    paper = isinstance(card, Paper)
    return README.format(
        model=model.made_by["model"],
        title=card.title if paper else card.package,
        package=card.package,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        axes=model.layout.axes.upper().replace(" ", ", "),
        shape=list(model.layout.shape()),
        arguments=", ".join(f"`{key}={value!r}`" for key, value in create.items()) or "those of its name",
        classes=", ".join(classes) if classes else number_of_classes(model),
        citation=f"Paper: {card.reference}. Original code: {card.code}, licence: {card.licence}." if paper else "",
    )
