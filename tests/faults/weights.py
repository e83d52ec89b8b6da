"""A model whose file was cut off while it was downloaded."""

from __future__ import annotations

import json
import shutil

from tests.faults import state, world
from tests.faults.processes import run
from tests.faults.stage import Stage, seen

ARCHITECTURE = "tiny-clip"


def cut_off(stage: Stage) -> None:
    """Cut a checkpoint off at some byte: it is refused with a sentence, and whole it works."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from clipsearch.models.architectures import quiet
    from tests.models.conftest import ARCHITECTURES

    configs = stage.folder / "architectures"
    configs.mkdir()
    (configs / f"{ARCHITECTURE}.json").write_text(json.dumps(ARCHITECTURES[ARCHITECTURE]))
    open_clip.add_model_config(configs)
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(7)
        weights = open_clip.create_model(ARCHITECTURE).state_dict()
    place = world.create(stage.folder / "world", stage.random, stage.photos)
    world.describe(place)
    before, photos, expected = state.kept(place), state.tree(place.photos), seen(place)
    environment = {"FAULT_ARCHITECTURES": str(configs)}
    for number in range(stage.times):
        whole = stage.folder / f"whole{number}{('.pt', '.safetensors')[number % 2]}"
        if whole.suffix == ".pt":
            torch.save(weights, whole)
        else:
            save_file(weights, whole)
        cut = stage.folder / f"cut{number}{whole.suffix}"
        shutil.copy(whole, cut)
        size = 0 if number == 3 else stage.random.randrange(whole.stat().st_size)
        with cut.open("r+b") as file:
            file.truncate(size)
        when = f"{whole.suffix} cut off after {size} bytes"
        words = ("models", "use", f"{ARCHITECTURE}/{cut}")
        finished = run(place.folder, *words, environment=environment)
        stage.record.injected += 1
        stage.says(finished, 1, "download or export it again", when=when)
        stage.survives(place, before, photos, when=when)
        stage.ends_well(place, expected, when=when)
    whole.replace(cut)
    with stage.recovering():
        finished = run(place.folder, *words, environment=environment)
    stage.says(finished, 0, when=f"{whole.suffix} whole again")
    stage.survives(place, before, photos, when="whole weights")
