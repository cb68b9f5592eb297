"""What is planned before a plate is painted on this machine: what "auto" means, how many painters, and whether they read ahead."""

from __future__ import annotations

from dataclasses import dataclass

from napari_virtual_paint.models import Model, open_model
from napari_virtual_paint.plates.job.job import PlateJob
from napari_virtual_paint.plates.job.planning import allowed, changed_software, first_field, fitting, need, resolve, suggested
from napari_virtual_paint.plates.plate import Field, FieldReader


@dataclass(frozen=True)
class Plan:
    """How a plate is painted.

    Parameters
    ----------
    job
        With what "auto" means.
    workers
        How many paint at once.
    ahead
        Whether each reads its next field meanwhile.
    note
        Something to tell the user, else empty.
    """

    job: PlateJob
    workers: int
    ahead: bool = True
    note: str = ""


@dataclass(frozen=True)
class Question:
    """What a plan is made from; small, since it travels to a worker, which has imported torch before this process has.

    Parameters
    ----------
    job
        As it was asked for, or as an earlier run resolved it.
    new
        Whether it has still to be resolved.
    reader, fields
        The fields of which the first that can be read is looked at.
    count
        How many there are to paint.
    asked
        Workers; None for as many as are best.
    memory
        Bytes that the job may take; None for a share of what is free.
    at_once
        Whether workers start in no time.
    """

    job: PlateJob
    new: bool
    reader: FieldReader
    fields: tuple[Field, ...]
    count: int
    asked: int | None
    memory: int | None
    at_once: bool = False

    def answer(self, model: Model | None = None) -> Plan:
        """Return the plan.

        Parameters
        ----------
        model
            The job's model where it is open already.

        Raises
        ------
        InputError
            If the device is not there, or the memory too little for one field.
        ModelError
            If the plate's channels are not the model's.
        """
        model = model or open_model(self.job.package)
        stack = first_field(self.reader, self.fields)
        job = resolve(self.job, stack, model, workers=self.asked or 1, memory=self.memory) if self.new else self.job
        changed = changed_software(job)
        if stack is None:
            return Plan(job, min(self.asked or 1, self.count), note=changed)
        workers = min(self.asked or suggested(job, model, stack, self.count, at_once=self.at_once), self.count)
        fit, ahead = fitting(need(job, model, stack), allowed(self.memory), workers)
        short = f"Memory is enough for {fit} of {workers} workers." if fit < workers and self.asked else ""
        return Plan(job, fit, ahead, " ".join(filter(None, (short, changed))))
