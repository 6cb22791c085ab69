"""Which meters there are: the models that come along, a vendor's files, and a vendor's code.

A vendor adds a model without code by a file in the folder `meters` of the data directory, or by a package with an
entry point in the group `local_load_manager.meters`. The entry point names a file or a folder of such files, or a
function `(setup, clock)` that makes a `Meter`; then its own name is the id of the model. What is broken is told in
`faults` and left out: it is never fatal.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path

from llm_adapters.modbus.model_files import load_model
from llm_adapters.modbus.models import MeterModel, ModelError
from llm_core import Clock, Meter, MeterSetup

OWN = Path(str(files(__package__)))
FOLDER = "meters"
GROUP = "local_load_manager.meters"
MakeMeter = Callable[[MeterSetup, Clock], Meter]


class Catalogue(Collection[str]):
    """The ids of all meters that can be chosen, in order; each file was read once, when this was made."""

    def __init__(self, data: Path | None = None, plugins: Collection[EntryPoint] | None = None) -> None:
        """`data` is the data directory; `plugins` those of the installed packages when left out."""
        self._models: dict[str, MeterModel] = {}
        self._makers: dict[str, MakeMeter] = {}
        self._refused: dict[str, str] = tomllib.loads((OWN / "refused.toml").read_text("utf-8"))
        self._faults: list[str] = []
        self._take(OWN / "models")
        for plugin in entry_points(group=GROUP) if plugins is None else plugins:
            self._plug_in(plugin)
        if data is not None and (data / FOLDER).is_dir():
            self._take(data / FOLDER)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why a vendor's file or code cannot be used, one line each."""
        return tuple(self._faults)

    def __contains__(self, model_id: object) -> bool:
        return model_id in self._models or model_id in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._models, *self._makers}))

    def __len__(self) -> int:
        return len(self._models.keys() | self._makers.keys())

    def models(self) -> Mapping[str, MeterModel]:
        """Those that are data, by their id."""
        return self._models

    def maker(self, model_id: str) -> MakeMeter | None:
        """The vendor's own code for this model, where it has any."""
        return self._makers.get(model_id)

    def why_not(self, model_id: str) -> str | None:
        """Why this model cannot be chosen; None when it can."""
        if model_id in self:
            return None
        return self._refused.get(model_id, f"there is no meter model “{model_id}”; known are {', '.join(self)}")

    def find(self, model_id: str) -> MeterModel:
        """The model with this id; `ModelError` with the reason when there is none."""
        if model_id not in self._models:
            raise ModelError((self.why_not(model_id) or f"“{model_id}” is a vendor's own code",))
        return self._models[model_id]

    def _plug_in(self, plugin: EntryPoint) -> None:
        try:
            found = plugin.load()
        except (Exception, SystemExit) as error:  # whatever somebody else's code does when it is imported
            self._faults.append(f"entry point {plugin.name}: {error!r}")
            return
        if callable(found):
            self._add(plugin.name, found, f"entry point {plugin.name}")
        elif isinstance(found, str | Path) and Path(found).exists():
            self._take(Path(found))
        else:
            self._faults.append(f"entry point {plugin.name}: {found!r} is neither a file, a folder nor a function")

    def _take(self, place: Path) -> None:
        for path in sorted(place.glob("*.toml")) if place.is_dir() else [place]:
            try:
                self._add(path.stem, load_model(path), str(path))
            except ModelError as error:
                self._faults += [f"{path.parent}/{fault}" for fault in error.faults]

    def _add(self, model_id: str, found: MeterModel | MakeMeter, place: str) -> None:
        if model_id in self:
            self._faults.append(f"{place}: there is already a model “{model_id}”; choose another id")
        elif isinstance(found, MeterModel):
            self._models[model_id] = found
        else:
            self._makers[model_id] = found
