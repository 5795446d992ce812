"""The evaluation as a metric of the `evaluate` package, made without its hub.

from climb_hf.metrics.metric import clinical_metric
metric = clinical_metric(rows, classes)
metric.add_batch(predictions=[[0.9, 0.1]], references=["x/0"])
metric.compute()["auc"]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from climb_hf.metrics.evaluation import evaluate
from climb_hf.optional import need

_INPUTS = "predictions: scores in class order, or a written answer; references: the ids of rows"


def clinical_metric(
    rows: Iterable[Mapping[str, Any]],
    classes: Sequence[str],
    *,
    answers: bool = False,
    **settings: Any,
) -> Any:
    """Returns an `evaluate.Metric` over `rows`, to be combined and fed like any other.

    `compute` returns the overall figures by their names, and `evaluation`, the whole result. Rows
    that no reference names are left out, so that a part of a split can be scored.

    Args:
        rows, classes: see `predictions.join`.
        answers: whether predictions are written answers in place of scores.
        **settings: of `evaluation.evaluate`; `metric.compute` takes none of them.

    Raises:
        DependencyError: without the package `evaluate`.
    """
    library = need("evaluate", extra="train")
    features = library.info  # that package's own view of the types of `datasets`
    by_id = {str(row["id"]): row for row in rows}
    names = tuple(classes)
    text = features.Value("string")
    given = text if answers else [features.Value("float64")]

    class Clinical(library.Metric):  # type: ignore[name-defined]
        """Figures of `climb_hf.metrics.evaluation`."""

        def _info(self) -> Any:
            return library.MetricInfo(
                description=__doc__,
                citation="",
                inputs_description=_INPUTS,
                features=features.Features({"predictions": given, "references": text}),
            )

        def _compute(self, predictions: Sequence[Any], references: Sequence[str]) -> dict:
            key = "answer" if answers else "scores"
            pairs = zip(references, predictions, strict=True)
            made = [{"id": name, key: one} for name, one in pairs]
            shown = [by_id[name] for name in dict.fromkeys(references) if name in by_id]
            result = evaluate(shown, made, names, **settings).result
            figures = result["overall"]["figures"]
            return {**{name: one["value"] for name, one in figures.items()}, "evaluation": result}

    return Clinical()
