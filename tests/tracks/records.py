"""Small sets of records for the tests of tracks."""

from bibench.records.record import Record

from ..records.test_records import make


def scored(table: dict[tuple[str, str, str, int], float | None], **more: object) -> list[Record]:
    """Score records from {(task, model, operator, seed): accuracy}; None is a failed cell."""
    return [
        make(
            task=task,
            model=model,
            operator=operator,
            seed=seed,
            cell=f"{task}/{model}/{operator}/{seed}",
            value=value,
            status="ok" if value is not None else "failed",
            **more,
        )
        for (task, model, operator, seed), value in table.items()
    ]
